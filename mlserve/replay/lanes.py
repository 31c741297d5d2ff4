"""Versions that answer in threads of this process while requests keep coming: the wire of a replay at its own speed.

Each version has its own lanes and its own queue. With recorded runs a unit is a run; else a lane takes what waits, as
many rows of one shape as a run of that version is good for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from time import monotonic

import numpy as np

from mlserve.replay.answering import Answered, Version, answer
from mlserve.replay.joining import joined, parted
from mlserve.replay.pacing import Done
from mlserve.replay.runs import Composition, edges_of
from mlserve.replay.schedule import Unit

MOST_WAITING = 4096


class Lanes:
    """``threads`` lanes for each of ``versions``; so many units were ``sent``. A context: its threads end with it."""

    def __init__(
        self,
        versions: Sequence[Version],
        composition: Composition,
        threads: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.candidates = len(versions)
        self.sent = 0
        self._clock = clock
        self._composition = composition
        self._done: SimpleQueue[Done | BaseException] = SimpleQueue()
        self._queues = [_Queue() for _ in versions]
        self._threads = [
            Thread(target=self._lane, args=(which, version), name=f"replay-{which}", daemon=True)
            for which, version in enumerate(versions)
            for _ in range(threads)
        ]

    def __enter__(self) -> Lanes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for queue in self._queues:
            queue.close()
        for thread in self._threads:
            thread.join()

    def has_room(self) -> bool:
        return all(len(queue) < MOST_WAITING for queue in self._queues)

    def send(self, number: int, unit: Unit) -> None:
        self.sent += 1
        for queue in self._queues:
            queue.put(number, unit)

    def take(self, timeout_s: float) -> list[Done]:
        found: list[Done] = []
        try:
            entry = self._done.get(timeout=timeout_s) if timeout_s > 0 else self._done.get_nowait()
            while True:
                if isinstance(entry, BaseException):
                    raise entry
                found.append(entry)
                entry = self._done.get_nowait()
        except Empty:
            return found

    def _lane(self, which: int, version: Version) -> None:
        queue = self._queues[which]
        max_rows = None if self._composition == "recorded" else version.max_rows
        while (taken := queue.take(max_rows)) is not None:
            try:
                answers = self._answers(version, [unit for _, unit in taken])
            except BaseException as error:  # a bug of ours: told where answers are taken
                self._done.put(error)
                return
            at_s = self._clock()
            for (number, _), answered in zip(taken, answers, strict=True):
                self._done.put(Done(number, which, answered, at_s))

    def _answers(self, version: Version, units: list[Unit]) -> list[Answered]:
        batch = joined([unit.batch for unit in units])
        found = answer(version, batch, edges_of(batch, self._composition, version.max_rows))
        if len(units) == 1:
            return [found]
        ends = np.cumsum([unit.batch.requests for unit in units]).tolist()
        return [parted(found, batch, first, end) for first, end in pairwise([0, *ends])]


class _Queue:
    """What waits for one version's lanes."""

    def __init__(self) -> None:
        self._units: deque[tuple[int, Unit]] = deque()
        self._changed = Condition()
        self._is_open = True

    def __len__(self) -> int:
        return len(self._units)

    def put(self, number: int, unit: Unit) -> None:
        with self._changed:
            self._units.append((number, unit))
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._units.clear()
            self._changed.notify_all()

    def take(self, max_rows: int | None) -> list[tuple[int, Unit]] | None:
        """The next unit, and those behind it that can share its run of ``max_rows``; None once it is closed."""
        with self._changed:
            while self._is_open and not self._units:
                self._changed.wait()
            if not self._is_open:
                return None
            taken = [self._units.popleft()]
            if max_rows is None or not taken[0][1].batch.has_rows:
                return taken
            rows = taken[0][1].batch.rows
            while self._units and rows < max_rows:
                after = self._units[0][1].batch
                if rows + after.rows > max_rows or not taken[0][1].batch.continues(after):
                    break
                taken.append(self._units.popleft())
                rows += after.rows
            return taken
