"""One reader of data files for every command, streamed in bounded memory, and the writer of outputs.

    file ─ open_table ─► Table: named raw arrays, batch by batch   (npz_file, parquet_file, csv_file, json_file)
         ─ open_rows ──► Rows: the same as the model's inputs      (mapping: which column is which input or role;
                                                                    casting: the input's type, never with loss)
    outputs ─ write_outputs ─► file

A number of a row in a message counts from 1. Files come from anywhere: nothing is unpickled, and what a file declares
about its own size is checked before memory is taken for it.
"""
