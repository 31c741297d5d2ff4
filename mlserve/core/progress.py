"""The port through which long work says how far it is; the command line draws it, functions only call it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each piece of work by name; ``total`` is None while unknown, ``done`` counts in the same unit."""

    def __call__(self, step: str, done: int, total: int | None) -> None: ...


def silent(step: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""
