"""Loads under way: one after the other, each in a thread of its own that can be left behind.

A load is foreign code: it reads from stores that hang and builds sessions that never end. So it has a time limit, one
that takes long lets others pass it, and one that nobody wants any more is abandoned. Its thread cannot be ended; what
it brings in the end is closed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mlserve.errors import DeadlineExceeded
from mlserve.serving.threads import OneThread

Made = TypeVar("Made")

OVERTAKE_S = 30.0
"""How long a load keeps the others waiting."""


class Loads:
    """Runs loads, in the order asked for. ``timeout_s`` is each load's limit."""

    def __init__(self, timeout_s: float, overtake_s: float = OVERTAKE_S) -> None:
        self._timeout_s = timeout_s
        self._overtake_s = min(overtake_s, timeout_s)
        self._turn = asyncio.Semaphore(1)

    async def run(self, load: Callable[[], Made], discard: Callable[[Made], None], what: str) -> Made:
        """What ``load`` makes, or raises. Cancelled, or past the limit, it is abandoned: its result is ``discard``ed.

        Raises DeadlineExceeded past the limit, naming ``what``.
        """
        await self._turn.acquire()
        is_first = True
        thread = OneThread("loader")
        work: asyncio.Future[Made] = asyncio.wrap_future(thread.submit(load))
        thread.shutdown()
        try:
            await asyncio.wait((work,), timeout=self._overtake_s)
            if not work.done() and self._timeout_s > self._overtake_s:
                self._turn.release()
                is_first = False
                await asyncio.wait((work,), timeout=self._timeout_s - self._overtake_s)
            if not work.done():
                raise DeadlineExceeded(f"loading {what} has taken longer than {self._timeout_s:g} s")
        except BaseException:
            work.add_done_callback(lambda done: _discard(done, discard))
            raise
        finally:
            if is_first:
                self._turn.release()
        return work.result()


def _discard(work: asyncio.Future[Made], discard: Callable[[Made], None]) -> None:
    if not work.cancelled() and work.exception() is None:
        discard(work.result())
