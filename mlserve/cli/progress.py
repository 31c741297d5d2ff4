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
        print(f"{step} {_count(done, total)}".rstrip(), file=self._file, flush=True)


@contextmanager
def _bar() -> Iterator[Progress]:
    """One line at a time: the step under way, with a count and an ETA where its total is known."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    words = TextColumn("{task.description} {task.fields[counted]}")
    columns = (SpinnerColumn(), words, BarColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        step_now: str | None = None
        task: TaskID | None = None

        def draw(step: str, done: int, total: int | None) -> None:
            nonlocal step_now, task
            if step != step_now or task is None:
                if task is not None:
                    bars.remove_task(task)
                step_now, task = step, bars.add_task(step, total=None, counted="")
            is_counted = total is not None and total > 1
            bars.update(task, completed=done, total=total if is_counted else None, counted=_count(done, total))

        yield draw


def _count(done: int, total: int | None) -> str:
    """How far a step is, where that says something.

    >>> _count(2, 5), _count(1, 1), _count(7, None), _count(0, None)
    ('2/5', '', '7', '')
    """
    if total is None:
        return str(done) if done else ""
    return f"{done}/{total}" if total > 1 else ""
