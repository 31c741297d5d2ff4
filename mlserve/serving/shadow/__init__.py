"""The live shadow: a version that sees production's traffic and answers nobody.

    server ── on_answered ─► mirror ─► ring (shared memory) ─► child: run, compare, pairs ─► capture
      ▲                                                          │ state file
      └── told once a second, asked for figures ◄─── pipes ──────┘

``shadows`` follows the stage ``shadow`` and is all that the server knows of; a ``keeper`` keeps the process of one
version running. Nothing here ever holds up an answer: what does not fit is dropped and counted.
"""
