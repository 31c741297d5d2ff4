"""Several server processes on one port: a supervisor that starts, restarts and replaces them, and never serves itself.

    supervisor.py ─starts─► worker, worker, …     each a whole server on the same ports (SO_REUSEPORT)
        │ ◄─ events ─ stdout, a line each            stdin is the lifeline: when it closes, the worker drains and ends
        └─ SIGHUP: one worker after another is replaced, the new one ready before the old one drains

``snapshots.py`` lets any worker answer ``/metrics`` for all of them; ``seats.py`` is what a worker knows of its place.
"""
