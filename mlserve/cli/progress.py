"""Progress of long work on stderr: a bar with an ETA for a person at a terminal, a line a step in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from mlserve.core.progress import Progress, silent

Style = Literal["bar", "lines", "none"]
PATIENCE_S = 1.0
"""Work that is done sooner than this leaves no trace in a pipe."""
QUIET_S = 10.0
"""A pipe hears of a step when it begins and when it ends, and at most this often in between."""


@contextmanager
def watching(style: Style) -> Iterator[Progress]:
    """A ``Progress`` to hand to a function, drawn until the block ends, whatever ends it."""
    match style:
        case "none":
            yield silent
        case "lines":
            yield Lines(sys.stderr, time.monotonic)
        case "bar":
            with _bar() as progress:
                yield progress


class Lines:
    """Progress as plain lines: when a step begins, when it ends, and now and then between; nothing for quick work."""

    def __init__(self, file: TextIO, now_s: Callable[[], float]) -> None:
        self._file = file
        self._now_s = now_s
        self._step: str | None = None
        self._begun_s = self._said_s = now_s()

    def __call__(self, step: str, done: int, total: int | None) -> None:
        now_s = self._now_s()
        if now_s - self._begun_s < PATIENCE_S:
            return
        is_new = step != self._step
        is_done = total is not None and done >= total
        if not (is_new or is_done or now_s - self._said_s >= QUIET_S):
            return
        self._step, self._said_s = step, now_s
        counted = f" {done}/{total}" if total is not None and total > 1 else f" {done}" if done and not total else ""
        print(f"{step}{counted}", file=self._file, flush=True)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def draw(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield draw
