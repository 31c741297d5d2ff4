"""Which waiting requests go together, and how many at once. Pure: time is passed in, nothing runs here.

    ┌ group (equal row shapes) ┐   take(limit): the group whose first request is the most urgent,
    │ 3 rows │ 1 row │ 2 rows  │   from its front while the rows fit
    ├──────────────────────────┤
    │ alone  │                 │   a request that shares nothing is a batch of its own
    └──────────────────────────┘

Rows are counted, not requests. What waits here is never split over two batches; one larger than the limit goes by
itself. Within a group, and between the fronts of groups, the lower ``rank`` goes first: see ``rank_of``.
"""

from __future__ import annotations

from asyncio import TimerHandle
from bisect import insort
from collections import deque
from collections.abc import Hashable, Sequence
from itertools import pairwise
from math import ceil, inf

import msgspec

from mlserve.serving.seam import Deliver, InferRequest

FEW_LEFT = 64
"""Requests that may stay in a queue after they gave up, before it is cleared of them."""

USUAL_LEVEL = 5
LAST_LEVEL = 9
"""Priorities: 1 is the most urgent, what says none (or 0) is at the usual level, what says more than 9 is at 9."""

LEVEL_S = 1.0
"""What a level is worth: a request is overtaken by those that come up to a second later for each level between."""


class Waiting(msgspec.Struct, gc=False, eq=False):
    """One admitted request, and the ticket of its sender. ``deliver`` is None once it was answered or cancelled.

    ``queue`` is the one it waits in, None once it was taken or gave up. Without GC tracking, so whatever ends it lets
    go of ``deliver``, ``timer`` and ``queue``, which lead back here. ``first_row`` is where a piece of a larger request
    begins in it, and ``is_piece`` whether it is one that does not count as a request.
    """

    request: InferRequest
    deliver: Deliver | None
    rows: int
    key: Hashable
    arrived_s: float
    rank: float = 0.0
    deadline_s: float = inf
    number: int = 0
    timer: TimerHandle | None = None
    queue: RowQueue | None = None
    first_row: int = 0
    is_piece: bool = False

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


class RowQueue:
    """The requests that wait for one version. ``rows`` counts those that still want an answer.

    ``later_rows`` belong to requests in pieces, of which there are ``wholes``, that only in part wait here yet. What
    was answered or cancelled while it waited stays in its group, empty-handed, until it is met or swept out.
    """

    __slots__ = ("_arrivals", "_departures", "_groups", "_left", "expired", "later_rows", "rows", "wholes")

    def __init__(self) -> None:
        self.rows = 0
        self.later_rows = 0
        self.wholes = 0
        self.expired: list[Waiting] = []
        self._arrivals = 0
        self._departures = 0
        self._left = 0
        self._groups: dict[Hashable, deque[Waiting]] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __len__(self) -> int:
        """How many requests are here, those that gave up and have not been swept out included."""
        return self._arrivals - self._departures

    def add(self, waiting: Waiting) -> None:
        """Put ``waiting`` behind all in its group that are as urgent as it is."""
        self._arrivals = waiting.number = self._arrivals + 1
        self.rows += waiting.rows
        waiting.queue = self
        group = self._groups.get(waiting.key)
        if group is None:
            self._groups[waiting.key] = deque((waiting,))
        elif waiting.rank >= group[-1].rank:
            group.append(waiting)
        else:
            insort(group, waiting, key=_rank)

    def leave(self, waiting: Waiting) -> None:
        """``waiting`` gave up: its rows wait no longer."""
        waiting.queue = None
        self.rows -= waiting.rows
        self._left += 1
        # More than half of those here are swept out each time, so that a request pays for one other at most.
        if self._left > FEW_LEFT and 2 * self._left > len(self):
            self._sweep()

    def oldest(self) -> Waiting | None:
        """The request that goes next, the oldest of the most urgent, or None when none waits."""
        groups = self._groups
        return groups[self._first_key()][0] if groups else None

    def rows_before(self, rank: float) -> int:
        """Rows that go before a request of this ``rank`` that came now."""
        if all(group[-1].rank <= rank for group in self._groups.values()):
            return self.rows
        return sum(
            waiting.rows
            for group in self._groups.values()
            for waiting in group
            if waiting.rank <= rank and waiting.queue is not None
        )

    def take(self, limit_rows: int, now_s: float) -> list[Waiting]:
        """The next batch of at most ``limit_rows`` rows (more only for a single request), the most urgent first.

        Requests that gave up are forgotten and expired ones moved to ``expired``; neither takes room. Empty only when
        nothing that waits can still be answered.
        """
        while self._groups:
            key = self._first_key()
            batch = self._take_from(key, limit_rows, now_s)
            if batch:
                return batch
        return []

    def _sweep(self) -> None:
        groups = ((key, deque([w for w in group if w.queue is self])) for key, group in self._groups.items())
        self._groups = {key: group for key, group in groups if group}
        self._departures += self._left
        self._left = 0

    def _first_key(self) -> Hashable:
        groups = self._groups
        if len(groups) == 1:
            return next(iter(groups))
        return min(groups, key=lambda key: (groups[key][0].rank, groups[key][0].number))

    def _take_from(self, key: Hashable, limit_rows: int, now_s: float) -> list[Waiting]:
        group = self._groups[key]
        batch: list[Waiting] = []
        room = limit_rows
        taken = passed = 0
        for waiting in group:
            if waiting.queue is None:
                self._left -= 1
            else:
                rows = waiting.rows
                if now_s > waiting.deadline_s:
                    self.expired.append(waiting)
                elif batch and (rows > room or key is None):
                    break
                else:
                    batch.append(waiting)
                    room -= rows
                waiting.queue = None
                taken += rows
            passed += 1
        self.rows -= taken
        self._departures += passed
        if passed == len(group):
            del self._groups[key]
        else:
            for _ in range(passed):
                group.popleft()
        return batch


def _rank(waiting: Waiting) -> float:
    return waiting.rank


def level_of(priority: int) -> int:
    """The level of a request's ``priority``, 1 to 9.

    >>> [level_of(priority) for priority in (0, 1, 5, 100)]
    [5, 1, 5, 9]
    """
    return min(priority, LAST_LEVEL) if priority > 0 else USUAL_LEVEL


def rank_of(due_s: float, priority: int) -> float:
    """Where a request goes in the order: by ``due_s``, its arrival or when it should be answered, and by its level.

    Each level counts as ``LEVEL_S``. So levels only decide among requests that came at about the same time, and nobody
    starves: one of level 9 waits for those of level 1 that come up to 8 seconds after it, and for none that come later.

    >>> rank_of(100.0, 0), rank_of(100.0, 1), rank_of(100.0, 9)
    (100.0, 96.0, 104.0)
    """
    return due_s + LEVEL_S * (level_of(priority) - USUAL_LEVEL) if priority else due_s


def equal_share(queued_rows: int, idle_lanes: int, max_rows: int) -> int:
    """Rows for one of ``idle_lanes``, so that no lane takes what another could be running; at most ``max_rows``.

    >>> equal_share(queued_rows=9, idle_lanes=2, max_rows=8)
    5
    """
    return max(1, min(max_rows, ceil(queued_rows / max(1, idle_lanes))))


def preferred_rows(limit_rows: int, preferred: Sequence[int]) -> int:
    """``limit_rows`` cut to the largest of ``preferred`` that fits in it; as it is where none does.

    >>> preferred_rows(7, (4, 8)), preferred_rows(3, (4, 8))
    (4, 3)
    """
    return max((rows for rows in preferred if rows <= limit_rows), default=limit_rows)


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
