"""A framework's model to ONNX, and the proof that both give the same answers.

    source ── loading ──► object ── sklearn | torch | … ────► Conversion(graph, original as a function)
                                                                  │
       sample ── rows ──► cases (parity) ◄── runtime ◄── the file as written beside OUT, normalised
                             │
                             └── passed: OUT and OUT.evidence.json are renamed into place; otherwise nothing is written

``frameworks`` is the table of exporters, ``exporter`` what one has to offer, ``exporting`` the whole way.
"""
