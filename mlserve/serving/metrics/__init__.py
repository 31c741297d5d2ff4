"""``/metrics``: what the server counts, in Prometheus' text format. Made when somebody asks, nothing before.

    accounts, front ends, events, process ──collecting.py──► families ──► exposition.py ──► text
                                             triton.py           summed over all workers

``families.py`` are the values in between, which travel from worker to worker; ``triton.py`` gives the same figures
Triton's names.
"""
