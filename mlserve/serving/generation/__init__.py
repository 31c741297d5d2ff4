"""Language models behind the server: each in a process of its own, which the event loop never waits for.

    request ─► GenerationIntake ─► queue ─► the version's own lane ─► ChildRunner ══pipes══ child process
                                                                          │
                                                         it ended: 503, and started again, later each time

``process`` starts one and talks to it, ``runner`` keeps one running, ``loading`` makes a ``Loaded`` of a checkpoint.
"""
