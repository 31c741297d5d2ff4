"""Who is let into a queue: as many rows as it may hold, and with an objective only what can be answered in time. Pure.

due  = arrival + objective, or the client's own deadline if that is sooner
start = when a lane has run what goes before        finish = start + T(rows of the batch it will be in)
admitted where finish ≤ due, and wherever nothing runs or waits: an estimate that is off must be able to learn
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from math import ceil

from mlserve.core.slo import Slo
from mlserve.serving.batching import USUAL_LEVEL, level_of
from mlserve.serving.holding import Arrivals, Curve, hold_for_more

RESERVE = 4
"""Requests above the usual level may fill a queue by one part in this many beyond what others may."""

BATCH_SHARE = 0.6
"""A run may take this part of the objective: who comes just after one has begun waits for it, then for its own."""

MISSES_OVER = 1000
"""About how many requests the share of late ones is taken over."""

REFIT_RUNS = 16
"""After so many runs it is worked out anew how many rows go together; at one request a run that would cost most."""

CAREFREE = 0.5
"""What is done within this part of the objective by the slowest of runs is let in without a further look."""

SPENT = 0.5
"""Which part of the late answers that the objective leaves may come before more caution is taken."""


def has_room(queued_rows: int, rows: int, priority: int, max_queue_rows: int) -> bool:
    """Whether ``rows`` more may wait; any number may where none wait.

    Nobody who was admitted is put out for somebody more urgent. Instead the last part of the queue is for the levels
    above the usual, so that a flood of ordinary requests does not shut them out.

    >>> has_room(8, 1, 0, max_queue_rows=8), has_room(8, 1, 1, max_queue_rows=8), has_room(10, 1, 1, max_queue_rows=8)
    (False, True, False)
    """
    is_urgent = priority > 0 and level_of(priority) < USUAL_LEVEL
    most = max_queue_rows + max_queue_rows // RESERVE if is_urgent else max_queue_rows
    return not queued_rows or queued_rows + rows <= most


def start_s(free_at_s: Sequence[float], batches: int, batch_s: float, now_s: float) -> float:
    """When a lane is free for the batch after ``batches`` others of ``batch_s`` each; lanes are free at ``free_at_s``.

    >>> start_s([3.0, 0.0], batches=3, batch_s=2.0, now_s=1.0)
    5.0
    """
    free = [max(now_s, at_s) for at_s in free_at_s]
    heapify(free)
    for _ in range(batches):
        heapreplace(free, free[0] + batch_s)
    return free[0]


class Pacing:
    """How one version keeps an objective: what to admit, how many rows to run at once, when to hold a batch.

    ``carefree_rows`` may wait for a version that nothing else keeps from running, and be in time for sure. Where runs
    are made on the loop (``is_inline``) they are short, and stay whole: smaller ones cost the loop more.

    Learns from ``note_arrival`` and ``note_run``; decides from what it is told, and keeps no queue of its own.
    """

    def __init__(self, slo: Slo, curve: Curve, *, useful_rows: int, is_inline: bool = False) -> None:
        self.slo = slo
        self.is_inline = is_inline
        self.curve = curve
        self._useful_rows = useful_rows
        self._arrivals = Arrivals()
        self._missed = 0.0
        self._runs = 0
        self.max_rows = useful_rows
        self.carefree_rows = 0
        self._fit()

    def note_arrival(self, rows: int, now_s: float) -> None:
        """A request of ``rows`` came, admitted or not."""
        self._arrivals.note(rows, now_s)

    def note_run(self, rows: int, run_s: float, requests: int, late: int) -> None:
        """A run of ``rows`` kept its lane for ``run_s``, and ``late`` of its ``requests`` missed the objective."""
        self.curve.note(rows, run_s)
        self._missed += min(1.0, requests / MISSES_OVER) * (late / requests - self._missed)
        self._runs += 1
        if self._runs >= REFIT_RUNS or late:
            self._runs = 0
            self._fit()

    def late_s(
        self,
        rows: int,
        rows_before: int,
        due_s: float,
        free_at_s: Sequence[float],
        now_s: float,
        *,
        other_work_s: float = 0.0,
    ) -> float:
        """How long after ``due_s`` a request would be answered, the other arguments as in ``finish_s``; 0 for never.

        What would begin at once is never late, whatever its run is thought to take: it cannot be had sooner, and only
        runs correct the estimate. What needs several runs must find all lanes idle for that.
        """
        is_next = not rows_before and not other_work_s
        if is_next and (max(free_at_s) if rows > self.max_rows else min(free_at_s)) <= now_s:
            return 0.0
        return max(0.0, self.finish_s(rows, rows_before, free_at_s, now_s, other_work_s=other_work_s) - due_s)

    def finish_s(
        self, rows: int, rows_before: int, free_at_s: Sequence[float], now_s: float, *, other_work_s: float = 0.0
    ) -> float:
        """When a request that came now is answered, in all but the few cases that the objective leaves.

        ``rows_before`` wait and go first; ``other_work_s`` is what other versions that wait will keep the lanes.
        """
        most = self.max_rows
        batches, rest = divmod(rows_before, most)
        start = start_s(free_at_s, batches, self.curve.mean_s(most) if batches else 0.0, now_s)
        start += other_work_s / len(free_at_s)
        company = 0 if start <= now_s else self._company(start - now_s, len(free_at_s), now_s)
        own, more = divmod(rest + rows + company, most)
        if rest + rows <= most:
            return start + self.curve.high_s(most if own else more)
        runs = ceil((rest + rows) / most / len(free_at_s))
        return start + (runs - 1) * self.curve.mean_s(most) + self.curve.high_s(most)

    def work_s(self, rows: int) -> float:
        """How long ``rows`` that wait will keep one lane."""
        batches, rest = divmod(rows, self.max_rows)
        return batches * self.curve.mean_s(self.max_rows) + (self.curve.mean_s(rest) if rest else 0.0)

    def share_s(self, rows: int) -> float:
        """What ``rows`` more make a large batch longer by."""
        return rows * self.curve.mean_s(self.max_rows) / self.max_rows

    def hold_until(self, now_s: float, oldest_arrived_s: float, rows: int, due_s: float, lanes: int) -> float:
        """Until when ``rows``, the first due at ``due_s``, wait for more although a lane is idle; ``now_s`` for not."""
        rate = self._arrivals.rate(now_s)
        return hold_for_more(now_s, oldest_arrived_s, rows, self.max_rows, due_s, self.curve, rate, lanes)

    def _company(self, wait_s: float, lanes: int, now_s: float) -> int:
        """How many rows come in ``wait_s`` and make a batch longer that waits for its lane.

        As many as the rate says; a whole batch of them as soon as too many answers were late, for bursts are faster.
        """
        if self._is_wary:
            return self.max_rows
        return int(self._arrivals.rate(now_s) * wait_s / lanes)

    @property
    def _is_wary(self) -> bool:
        """Whether too many of the last answers were late."""
        return self._missed > SPENT * (1.0 - self.slo.percentile / 100.0)

    def _fit(self) -> None:
        """The largest batch that leaves some time to wait; the largest in time where none does; one row at least."""
        most = self._useful_rows
        within = self.curve.rows_within
        if not self.is_inline:
            self.max_rows = within(BATCH_SHARE * self.slo.limit_s, most) or within(self.slo.limit_s, most) or 1
        runs = int(CAREFREE * self.slo.limit_s / self.curve.high_s(self.max_rows))
        self.carefree_rows = 0 if self._is_wary else runs * self.max_rows
