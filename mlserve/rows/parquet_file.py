"""``.parquet``: a column per input or per feature; only the columns that are asked for are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.errors import InvalidInput
from mlserve.rows.arrow_columns import runs_of
from mlserve.rows.tables import RawBatch, align, first_line, require_content, require_distinct, rows_per_batch

_BUFFER_BYTES = 1 << 20


class ParquetTable:
    """The columns of a Parquet file. Raises NotFound, InvalidInput when opened."""

    features_as_columns = True

    def __init__(self, path: Path) -> None:
        require_content(path)
        self.path = path
        with _reading(path), pq.ParquetFile(path) as file:
            self.columns = require_distinct(path, file.schema_arrow.names)
            self.total_rows: int | None = file.metadata.num_rows
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        sizes = sum(group.total_byte_size for group in groups)
        self._row_bytes = sizes // max(self.total_rows or 0, 1)

    def batches(self, rows: int, only: Collection[str] | None = None) -> Iterator[RawBatch]:
        names = [name for name in self.columns if only is None or name in only]
        start = 0
        # By default pyarrow reads ahead until it holds all column chunks of the file.
        with _reading(self.path), pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            size = rows_per_batch(rows, self._row_bytes)
            for batch in file.iter_batches(batch_size=size, columns=names, use_threads=False):
                columns = {n: runs_of(batch.column(n), name=n, start=start, path=self.path) for n in names}
                start += batch.num_rows
                if batch.num_rows:
                    yield from align(columns)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{path}' is not a readable Parquet file: {first_line(error)}") from error
