"""Load for servers, and honest figures of it.

    messages.py  requests as bytes, and what each must be answered
    clients.py   plain sockets on one epoll, each reply checked
    load.py      closed loop and open loop over them ─► Outcome
    arrivals.py  when an open loop's requests are due
    outcomes.py  latencies of right answers, failures by kind
    latencies.py percentiles in bounded memory
    slo.py       service levels, parsed and judged

The generator belongs in a process of its own, on a core of its own: what it costs must not come out of the server.
"""
