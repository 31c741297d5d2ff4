"""Load for servers, and honest figures of it.

    messages.py  ─► requests as bytes, and what each must be answered
    load.py      ─► closed loop: so many clients, each sends as soon as it is answered ─► Run
    latencies.py    percentiles in bounded memory

The generator belongs in a process of its own, on a core of its own: what it costs must not come out of the server.
"""
