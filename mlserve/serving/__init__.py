"""The inference server: protocol front ends on one side, the engine on the other, and one seam between them.

    http/, oip/           bytes ⇄ InferRequest, Answer       know no ONNX
       │  seam.py         the values both sides speak in
       ▼
    engine.py             end-of-tick batches, deadlines; lanes.py: the threads for what the loop must not run
       ├── batching.py    which requests go together (pure)
       ├── gathering.py   requests → arrays of one batch
       ▼
    repository.py         versions loaded, swapped, drained  ◄── following.py, which polls an upstream's stages
       ├── directory.py   who answers for a name                      └── registry.py: the registry as upstream
       ├── entries.py     one name: loaded, wanted, failed
       ├── routing.py     champion or challenger
       ├── loads.py       loads under way, and those left behind
       ├── loaded.py      one version: its queue, its runs
       ├── loading.py     fetch, load, certify, golden rows, warm-up
       ▼
    mlserve.runtime       sessions                            know no HTTP

``server.py`` puts them together in one process; ``events.py`` tells what happens in it.
"""
