"""Lanes: the threads that run batches too long for the event loop, one batch in each at a time."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Job = Callable[[], Any]
Done = Callable[[Any], None]


class Lanes:
    """``count`` threads. ``submit`` and ``idle`` belong to the loop's thread, and so is where ``done`` is called."""

    def __init__(self, count: int, loop: AbstractEventLoop) -> None:
        self.count = count
        self.idle = count
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def most_of(self, limit: int | None) -> int:
        """How many runs at a time a version may have whose own limit is ``limit``."""
        return self.count if limit is None else min(limit, self.count)

    def start(self) -> None:
        """Start the threads. They are daemons: a run that never ends must not keep the process."""
        for number in range(self.count):
            thread = threading.Thread(target=self._work, name=f"lane-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def submit(self, job: Job, done: Done) -> None:
        """Run ``job``, which must not raise, in a lane that is idle now, and ``done(result)`` on the loop after it."""
        self.idle -= 1
        self._jobs.put((job, done))

    def close(self, timeout_s: float) -> None:
        """Let the threads end after the jobs they have; wait at most ``timeout_s`` for each."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
        self._threads.clear()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result = job()
            try:
                self._loop.call_soon_threadsafe(self._finish, done, result)
            except RuntimeError:
                return  # the loop was closed: nobody is left to tell
            del item, job, done, result

    def _finish(self, done: Done, result: Any) -> None:
        self.idle += 1
        done(result)
