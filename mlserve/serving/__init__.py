"""The inference server: protocol front ends on one side, the engine on the other, and one seam between them.

    http/, oip/           bytes ⇄ InferRequest, Answer       know no ONNX
       │  seam.py         the values both sides speak in
       ▼
    engine.py             end-of-tick batches, lanes, deadlines
       ├── batching.py    which requests go together (pure)
       ├── gathering.py   requests → arrays of one batch
       ▼
    repository.py         versions loaded, swapped, drained  ◄── following.py, which follows the registry's stages
       ▼
    mlserve.runtime       sessions                            know no HTTP

``server.py`` puts them together in one process.
"""
