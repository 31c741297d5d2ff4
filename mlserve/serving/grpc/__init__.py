"""The gRPC front end: the same engine, tensors and refusals as over HTTP, on a port of its own. It knows no ONNX.

    grpc.aio ─bytes─► service.py      one method each; calls on the engine's loop, so no thread is changed
                        │ settling.py   requests of many calls let into the engine together
                        │ decoding.py   message → the seam's request, tensors as views of its bytes
                        │ encoding.py   answer → bytes, constant parts once a batch
                        │ documents.py  metadata, configuration, statistics, index
                        │ statuses.py   errors → gRPC's codes
                        └ streams.py    ModelStreamInfer: many requests under way on one stream

``health.py`` and ``reflection.py`` are gRPC's own services; ``front.py`` listens and drains.
"""
