"""Load for servers and models, and honest figures of it.

    measuring.py  a plan: every point of load in turn, in several repeats ─► runs.py  figures, intervals, verdicts
        │
    stretches.py  the port: a stretch of load, asked of a driver
        ├── generators.py  servers: one process or several
        │     └── load.py  closed and open loop over clients.py (HTTP) or grpc_clients.py (HTTP/2 by hand: http2.py)
        └── calls.py       the same loops over calls in this process

    asking.py, messages.py, grpc_messages.py   arrays ─► requests as bytes; replies checked against those learnt
    arrivals.py   when an open loop's requests are due          outcomes.py, latencies.py   what came of them
    responder.py  answers at once: the generator's own ceiling  slo.py, intervals.py        judged

The generator belongs on a core of its own: what it costs must not come out of the server.
"""
