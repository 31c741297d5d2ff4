"""Work on one body that would keep the loop from everybody else, done in a thread beside it.

What is there keeps the interpreter's lock for a millisecond at a time, or not at all: inflating, deflating, and reading
long lists of numbers in slices. A thread for anything else would only move the wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from mlserve.serving.threads import OneThread

T = TypeVar("T")

JSON_BYTES = 512 << 10
"""From here on JSON is read beside the loop: a few milliseconds, against a tenth of one for the way there and back."""

INFLATED_BYTES = 4 << 10
"""From here on so is what is compressed, which may be a thousand times as long."""

DEFLATED_BYTES = 64 << 10
"""From here on replies are compressed beside the loop: about a millisecond."""


class Offload:
    """One thread for the large bodies of one loop; there from the first of them on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread: OneThread | None = None

    def run(self, work: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        """Call ``work`` in the thread, and ``then`` on the loop with what it returned or raised."""
        if self._thread is None:
            self._thread = OneThread("large bodies")
        self._thread.submit(self._done, work, then)

    def close(self) -> None:
        """End the thread after what it was given."""
        if self._thread is not None:
            self._thread.shutdown()

    def _done(self, work: Callable[[], T], then: Callable[[Any], None]) -> None:
        try:
            outcome: T | Exception = work()
        except Exception as error:
            outcome = error
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(then, outcome)


class Reading:
    """The ticket of a request whose body is still being read: cancelled, it never goes to the engine."""

    __slots__ = ("is_cancelled",)

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
