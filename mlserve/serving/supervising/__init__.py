"""Several server processes on one port: a supervisor that starts, restarts and replaces them, and never serves itself.

    supervisor.py ─starts─► worker, worker, …     each a whole server on the same ports
        │ ◄─ events ─ stdout, a line each            stdin is the lifeline: when it closes, the worker drains and ends
        ├─ listeners.py: the sockets where clients wait, which outlive any worker
        ├─ crashes.py, backoff.py: who is lost, how often, and when the next is started
        └─ SIGHUP: one worker after another is replaced, the new one ready before the old one drains

    members.py: a worker as one of several         ◄─ asking.py ─► the others, and the supervisor
        together.py   what clients ask of all: telling.py, what each tells and its sum; snapshots.py, what is kept of it

``seats.py`` is what a worker knows of its place.
"""
