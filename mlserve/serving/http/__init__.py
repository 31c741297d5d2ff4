"""The HTTP/1.1 front end: sockets on one side, the engine's seam on the other. It knows no ONNX.

    socket ─bytes─► connection.py      one client: order of answers, pauses, timeouts, the end
                      │ reading.py     bytes → requests, whole ones only (sans I/O)
                      │   heads.py     request line and headers, parsed by httptools, once for equal bytes
                      │   chunks.py    chunked bodies
                      │   routing.py   path and method → what is asked
                      ▼
                    answering.py       what is asked → the engine, or a document; oip/ is the codec
                      │ exchanges.py   one request that waits for its answer
                      ▼
    socket ◄─bytes─ replies.py         status line, headers, error bodies

``front.py`` listens, counts connections, sweeps out slow ones and drains. ``limits.py`` is what a client may ask for.
"""
