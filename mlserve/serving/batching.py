"""Which waiting requests go together, and how many at once. Pure: time is passed in, nothing runs here.

    ┌ group (equal row shapes) ┐   take(limit): the group whose first request has waited longest,
    │ 3 rows │ 1 row │ 2 rows  │   from its front while the rows fit
    ├──────────────────────────┤
    │ alone  │                 │   a request that shares nothing is a batch of its own
    └──────────────────────────┘

Rows are counted, not requests. A request is never split over two batches; one larger than the limit goes by itself.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections import deque
from collections.abc import Hashable
from itertools import pairwise
from math import ceil

import msgspec

from mlserve.serving.seam import Deliver, InferRequest

FEW_LEFT = 64
"""Requests that may stay in a queue after they gave up, before it is cleared of them."""


class Waiting(msgspec.Struct, gc=False, eq=False):
    """One admitted request, and the ticket of its sender. ``deliver`` is None once it was answered or cancelled.

    ``queue`` is the one it waits in, None once it was taken or gave up. Without GC tracking, so whatever ends it lets
    go of ``deliver``, ``timer`` and ``queue``, which lead back here.
    """

    request: InferRequest
    deliver: Deliver | None
    rows: int
    key: Hashable
    arrived_s: float
    number: int = 0
    timer: TimerHandle | None = None
    queue: RowQueue | None = None

    def cancel(self) -> None:
        self.end()

    def end(self) -> Deliver | None:
        """Who is to be told of the answer, the first time; from then on nobody is, and no row of it waits."""
        deliver, self.deliver = self.deliver, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.queue is not None:
            self.queue.leave(self)
        return deliver

    def is_expired(self, now_s: float) -> bool:
        deadline_s = self.request.deadline_s
        return deadline_s is not None and now_s > deadline_s


class RowQueue:
    """The requests that wait for one version. ``rows`` counts those that still want an answer.

    What was answered or cancelled while it waited stays in its group, empty-handed, until it is met or swept out.
    """

    __slots__ = ("_arrivals", "_groups", "_left", "_length", "expired", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.expired: list[Waiting] = []
        self._arrivals = 0
        self._length = 0
        self._left = 0
        self._groups: dict[Hashable, deque[Waiting]] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __len__(self) -> int:
        """How many requests are here, those that gave up and have not been swept out included."""
        return self._length

    def add(self, waiting: Waiting) -> None:
        """Put ``waiting`` behind all that came before it."""
        self._arrivals = waiting.number = self._arrivals + 1
        self._length += 1
        self.rows += waiting.rows
        waiting.queue = self
        group = self._groups.get(waiting.key)
        if group is None:
            group = self._groups[waiting.key] = deque()
        group.append(waiting)

    def leave(self, waiting: Waiting) -> None:
        """``waiting`` gave up: its rows wait no longer."""
        waiting.queue = None
        self.rows -= waiting.rows
        self._left += 1
        # At least half of them are swept out each time, so that a request pays for one other at most.
        if self._left > FEW_LEFT and 2 * self._left > self._length:
            self._sweep()

    def oldest(self) -> Waiting | None:
        """The request that has waited longest, or None when none waits."""
        heads = [group[0] for group in self._groups.values()]
        return min(heads, key=lambda waiting: waiting.number) if heads else None

    def take(self, limit_rows: int, now_s: float) -> list[Waiting]:
        """The next batch of at most ``limit_rows`` rows (more only for a single request), in order of arrival.

        Requests that gave up are forgotten and expired ones moved to ``expired``; neither takes room. Empty only when
        nothing that waits can still be answered.
        """
        while self._groups:
            key = self._oldest_key()
            batch = self._take_from(key, limit_rows, now_s)
            if batch:
                return batch
        return []

    def _sweep(self) -> None:
        groups = ((key, deque([w for w in group if w.queue is self])) for key, group in self._groups.items())
        self._groups = {key: group for key, group in groups if group}
        self._length -= self._left
        self._left = 0

    def _oldest_key(self) -> Hashable:
        groups = self._groups
        if len(groups) == 1:
            return next(iter(groups))
        return min(groups, key=lambda key: groups[key][0].number)

    def _take_from(self, key: Hashable, limit_rows: int, now_s: float) -> list[Waiting]:
        group = self._groups[key]
        batch: list[Waiting] = []
        room = limit_rows
        while group:
            waiting = group[0]
            if waiting.queue is None:
                self._left -= 1
            else:
                if waiting.is_expired(now_s):
                    self.expired.append(waiting)
                elif batch and (waiting.rows > room or key is None):
                    break
                else:
                    batch.append(waiting)
                    room -= waiting.rows
                waiting.queue = None
                self.rows -= waiting.rows
            group.popleft()
            self._length -= 1
        if not group:
            del self._groups[key]
        return batch


def equal_share(queued_rows: int, idle_lanes: int, max_rows: int) -> int:
    """Rows for one of ``idle_lanes``, so that no lane takes what another could be running; at most ``max_rows``.

    >>> equal_share(queued_rows=9, idle_lanes=2, max_rows=8)
    5
    """
    return max(1, min(max_rows, ceil(queued_rows / max(1, idle_lanes))))


def hold_until(oldest_arrived_s: float, queued_rows: int, max_rows: int, max_delay_s: float) -> float:
    """When a batch should go at the latest: at once when it is full or nothing is gained by waiting.

    Times are on one clock. A hold pays only where a run has a large fixed cost, so it is off unless asked for.
    """
    if max_delay_s <= 0.0 or queued_rows >= max_rows:
        return oldest_arrived_s
    return oldest_arrived_s + max_delay_s


def is_lone(requests: int, left: int, versions: int, idle_lanes: int, lanes: int) -> bool:
    """Whether a batch has the machine to itself: one request, none ``left``, no other version waiting, no lane busy.

    >>> is_lone(requests=1, left=0, versions=1, idle_lanes=2, lanes=2)
    True
    >>> is_lone(requests=1, left=0, versions=1, idle_lanes=1, lanes=2)
    False
    """
    return requests == 1 and not left and versions <= 1 and idle_lanes == lanes


def pieces(rows: int, max_rows: int) -> list[tuple[int, int]]:
    """Row ranges of a request larger than a run should be, as equal as they can be.

    >>> pieces(rows=10, max_rows=4)
    [(0, 4), (4, 7), (7, 10)]
    """
    count = max(1, -(-rows // max_rows))
    size, more = divmod(rows, count)
    ends = [0]
    for number in range(count):
        ends.append(ends[-1] + size + (1 if number < more else 0))
    return list(pairwise(ends))
