"""Whether a candidate differs from its baseline by more than the baseline differs from itself.

The baseline answers again, in batches composed otherwise; what moves then is noise of its arithmetic. Two exact tests,
each at half of ``LEVEL`` (Bonferroni), are asked whether the candidate moves more:

requests that differ   of all requests that differ, the candidate's share is no larger than its share of requests
                       (conditional binomial: Przyborowski and Wilenski, Biometrika 31, 1940; conservative for rates)
rows that are far      so many of the candidate's rows are farther off than the farthest of the noise, that with equal
                       distributions it would hardly happen (exceedances: Rosenbaum, Ann. Math. Statist. 25, 1954)
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from mlserve.compare.ladder.decisions import Decisions
from mlserve.compare.ladder.exactness import Exactness
from mlserve.compare.ladder.judging import Judged, Limits
from mlserve.compare.ladder.logcounts import LogCounts
from mlserve.compare.pairs import State

Array = np.ndarray[Any, np.dtype[Any]]

LEVEL = 0.01
_HOW = (
    "the baseline again in other batches; requests that differ by an exact conditional binomial test, rows farther "
    f"than any of the noise by Rosenbaum's test, together at {LEVEL}"
)


class Noise:
    """What the baseline does to itself, beside what the candidate does. Merging is exact.

    A request differs if any of its rows is decided otherwise, or is out of tolerance where nothing is decided.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._again, self._decisions = Exactness(limits), Decisions(limits)
        self._candidate, self._baseline = _Side(), _Side()

    def learn_candidate(self, judged: Judged) -> None:
        self._candidate.add(judged)

    def learn_baseline(self, judged: Judged) -> None:
        """Of pairs whose ``expected`` is the baseline's answer and ``actual`` its answer in another batch."""
        self._again.learn(judged)
        self._decisions.learn(judged)
        self._baseline.add(judged)

    def take_baseline(self, again: Exactness, decisions: Decisions, noise: Noise) -> None:
        """``learn_baseline`` of what other rungs, and another's candidate side, have learned of such pairs."""
        self._again.merge(again)
        self._decisions.merge(decisions)
        self._baseline.merge(noise._candidate)

    def merge(self, other: Self) -> None:
        self._again.merge(other._again)
        self._decisions.merge(other._decisions)
        self._candidate.merge(other._candidate)
        self._baseline.merge(other._baseline)

    def figures(self, *, is_decided: bool) -> dict[str, Any] | None:
        """None where the baseline was not run again. ``is_decided`` says whether the outputs decide anything.

        ``rows``, ``identical``, ``max_abs`` and ``agreement`` are of the baseline against itself; ``beyond_rows`` are
        the candidate's rows that are farther off than any of them, ``p_value`` is Bonferroni's.
        """
        if not self._again.rows:
            return None
        mine, own = self._candidate, self._baseline
        differing, own_differing = (side.changed if is_decided else side.over for side in (mine, own))
        beyond = mine.distances.above(own.farthest)
        p_value = 2 * min(
            more_often(differing, mine.requests, own_differing, own.requests), exceedance(beyond, mine.rows, own.rows)
        )
        agreement = self._decisions.agreement()
        return {
            "rows": self._again.rows,
            "identical": self._again.identical,
            "max_abs": self._again.max_abs,
            "agreement": None if agreement is None else agreement.share,
            "beyond_rows": beyond,
            "p_value": min(1.0, p_value),
            "difference_beyond_noise": p_value < LEVEL,
            "how": _HOW,
        }

    def state(self) -> State:
        return {
            "again": self._again.state(),
            "decisions": self._decisions.state(),
            "candidate": self._candidate.state(),
            "baseline": self._baseline.state(),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        self = cls()
        self._again, self._decisions = Exactness.from_state(state["again"]), Decisions.from_state(state["decisions"])
        self._candidate, self._baseline = _Side.from_state(state["candidate"]), _Side.from_state(state["baseline"])
        return self


def more_often(count: int, of: int, other: int, of_other: int) -> float:
    """The chance of ``count`` or more of ``of``, beside ``other`` of ``of_other``, if both happen at one rate.

    >>> round(more_often(8, 100, 0, 100), 6)
    0.003906
    """
    if not count or not of or not of_other:
        return 1.0
    share, total = of / (of + of_other), count + other
    if count <= share * total:
        return 1.0  # or nearly; and only above the mean do the terms fall, as ``_tail`` supposes
    chosen, left = math.log(share), math.log1p(-share)
    logs = [_log_binomial(total, k) + k * chosen + (total - k) * left for k in _tail(count, total)]
    largest = max(logs)
    return min(1.0, math.exp(largest) * math.fsum(math.exp(log - largest) for log in logs))


def exceedance(count: int, of: int, of_other: int) -> float:
    """The chance that the ``count`` largest of all are among ``of``, and none among ``of_other``, if all are alike.

    >>> round(exceedance(1, 1, 1), 4), round(exceedance(2, 4, 4), 4)
    (0.5, 0.2143)
    """
    if not of_other:
        return 1.0
    return math.exp(
        math.lgamma(of + 1)
        - math.lgamma(of - count + 1)
        + math.lgamma(of + of_other - count + 1)
        - math.lgamma(of + of_other + 1)
    )


def _tail(count: int, total: int) -> range:
    """From ``count`` on; beyond some thousand terms what is left is nothing, as they fall geometrically."""
    return range(count, min(total, count + 20_000) + 1)


def _log_binomial(total: int, count: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)


class _Side:
    """Requests with a row decided otherwise, with one out of tolerance, and the distances of all rows."""

    def __init__(self) -> None:
        self.rows = self.requests = self.changed = self.over = 0
        self.farthest = 0.0
        self.distances = LogCounts()

    def add(self, judged: Judged) -> None:
        self.rows += judged.rows
        self.requests += int(np.count_nonzero(judged.pairs.rows_each))
        if judged.identical.all():
            return
        self.changed += _requests_with(judged.changed, judged.pairs.rows_each)
        self.over += _requests_with(~judged.within, judged.pairs.rows_each)
        moved = judged.distance[judged.distance > 0]
        self.distances.add(moved)
        self.farthest = max(self.farthest, float(moved.max(initial=0.0)))

    def merge(self, other: _Side) -> None:
        self.rows += other.rows
        self.requests += other.requests
        self.changed += other.changed
        self.over += other.over
        self.farthest = max(self.farthest, other.farthest)
        self.distances.merge(other.distances)

    def state(self) -> State:
        counts = [self.rows, self.requests, self.changed, self.over]
        return {"counts": counts, "farthest": self.farthest, "distances": self.distances.state()}

    @classmethod
    def from_state(cls, state: State) -> _Side:
        self = cls()
        self.rows, self.requests, self.changed, self.over = state["counts"]
        self.farthest, self.distances = state["farthest"], LogCounts.from_state(state["distances"])
        return self


def _requests_with(rows: Array, rows_each: Array) -> int:
    """How many requests have one of ``rows``, (rows,) bool."""
    places = np.flatnonzero(rows)
    owners = np.searchsorted(np.cumsum(rows_each), places, side="right")
    return len(np.unique(owners))
