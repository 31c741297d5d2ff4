"""The command line: parse, call one function, render.

    argv ─► app.main ─► one thin file a command ─► wiring / library functions
               │                   │
               │ any error         │ the answer
               ▼                   ▼
           failing.py          output.py (table, record, result, hint; human, json, quiet)
             stderr              stdout

Command modules import only typing, pathlib, typer and values that cost nothing; whatever is heavy is imported inside
the body, so that ``mlserve --help`` stays fast. Commands never format errors: they let them through to ``app.main``.
"""
