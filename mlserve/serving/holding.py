"""When a batch goes: what a run costs, how fast rows come, and whether waiting for more of them is worth it. Pure.

A hold pays only where a run has a large fixed cost and there is more to run than lanes can run at once. Else batches
grow by themselves while the lanes are busy, and a lone request is best run at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil, exp, inf

from mlserve.runtime.costs import Costs

RATE_S = 0.25
"""How long an arrival counts in the rate."""

OUTLIER = 4.0
"""A run longer than so many times the usual tells of the machine, not of the model: it counts as one of that length."""

MEAN_STEP = 0.1
HIGH_STEP = 0.2
"""How far one run moves the estimate of the mean, and how far (in parts of it) one beyond it moves the percentile."""

LEAST_RUN_S = 1e-6

HOLD_SHARE = 0.5
"""The part of a run's fixed cost that a batch may wait for more rows."""


class Curve:
    """T(b), the seconds that a run of b rows takes: as measured at load, corrected by every run since.

    What is learned is the ratio to the line α + β·b, for each power of two of rows: its mean, and the percentile that
    the objective asks for. Sizes never run are taken to be off by as much as the nearest that was.
    """

    def __init__(self, costs: Costs, percentile: float) -> None:
        self.alpha_s = costs.alpha_s
        self._beta_s = costs.beta_s
        self._share = percentile / 100.0
        self._buckets: list[int] = []
        self._mean: dict[int, float] = {}
        self._high: dict[int, float] = {}

    def note(self, rows: int, run_s: float) -> None:
        """A run of ``rows`` took ``run_s``."""
        bucket = _bucket(rows)
        ratio = min(run_s / self._line_s(rows), OUTLIER * self._ratio(self._mean, rows))
        mean = self._mean.get(bucket)
        if mean is None:
            self._buckets = sorted((*self._buckets, bucket))
            self._mean[bucket] = self._high[bucket] = ratio
            return
        self._mean[bucket] = mean + MEAN_STEP * (ratio - mean)
        high = self._high[bucket]
        # Stochastic approximation of a quantile (Robbins and Monro, 1951): at rest when a run is beyond it as often as
        # it should be.
        high *= 1.0 + HIGH_STEP * (self._share if ratio > high else self._share - 1.0)
        self._high[bucket] = high

    def mean_s(self, rows: int) -> float:
        """What a run of ``rows`` takes on average."""
        return self._line_s(rows) * self._ratio(self._mean, rows)

    def high_s(self, rows: int) -> float:
        """What all but a few runs of ``rows`` stay within, as few as the objective allows."""
        return self._line_s(rows) * max(self._ratio(self._high, rows), self._ratio(self._mean, rows))

    def rows_within(self, limit_s: float, most: int) -> int:
        """The largest number of rows up to ``most`` whose run stays within ``limit_s``; 0 for none."""
        if self.high_s(most) <= limit_s:
            return most
        low, high = 0, most
        while high - low > 1:
            rows = (low + high) // 2
            low, high = (rows, high) if self.high_s(rows) <= limit_s else (low, rows)
        return low

    def _line_s(self, rows: int) -> float:
        return max(LEAST_RUN_S, self.alpha_s + self._beta_s * rows)

    def _ratio(self, ratios: dict[int, float], rows: int) -> float:
        buckets = self._buckets
        if not buckets:
            return 1.0
        at = bisect_right(buckets, _bucket(rows))
        return ratios[buckets[max(0, at - 1)]]


class Arrivals:
    """The rate at which rows come, forgetting what is longer ago than a fraction of a second."""

    __slots__ = ("_count", "_last_s")

    def __init__(self) -> None:
        self._count = 0.0
        self._last_s = -inf

    def note(self, rows: int, now_s: float) -> None:
        """``rows`` came now."""
        self._count = self._decayed(now_s) + rows
        self._last_s = now_s

    def rate(self, now_s: float) -> float:
        """Rows a second."""
        return self._decayed(now_s) / RATE_S

    def _decayed(self, now_s: float) -> float:
        if self._last_s == now_s:
            return self._count
        return self._count * exp((self._last_s - now_s) / RATE_S)


def hold_until(
    oldest_arrived_s: float, queued_rows: int, max_rows: int, max_delay_s: float, preferred: Sequence[int] = ()
) -> float:
    """When a batch should go at the latest by a fixed delay: at once when it is full, or of a preferred size.

    Times are on one clock. A hold pays only where a run has a large fixed cost, so it is off unless asked for.
    """
    enough = min(max_rows, *preferred) if preferred else max_rows
    if max_delay_s <= 0.0 or queued_rows >= enough:
        return oldest_arrived_s
    return oldest_arrived_s + max_delay_s


def hold_for_more(
    now_s: float, oldest_arrived_s: float, rows: int, max_rows: int, due_s: float, curve: Curve, rate: float, lanes: int
) -> float:
    """Until when ``rows``, due at ``due_s``, should wait for more although a lane is idle; ``now_s`` for not at all.

    Waiting for d seconds brings rate·d rows, which save the fixed cost α of a run of their own, and costs each row here
    d. Saved lane time is worth something only where rows would wait for it: where the lanes could not run every row
    alone. Then the oldest may wait for half of α, if at least one row is to be expected in it and the objective holds.
    """
    hold_s = HOLD_SHARE * min(curve.alpha_s, curve.mean_s(1))
    until_s = oldest_arrived_s + hold_s
    if until_s <= now_s or rows >= max_rows or rate * hold_s < 1.0 or rate * curve.mean_s(1) < lanes:
        return now_s
    return until_s if until_s + curve.high_s(min(max_rows, rows + ceil(rate * hold_s))) <= due_s else now_s


def _bucket(rows: int) -> int:
    """Which power of two of rows: 1, 2, 3–4, 5–8, ..."""
    return (rows - 1).bit_length()
