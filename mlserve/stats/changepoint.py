"""When something began: the place in a series after which its evidence, or its mean, is another.

ln M after each row ──► began(…)       where the evidence last lay lowest before it rose to its alarm
a value a day       ──► shift_of(…)    the split that explains most of the series, with its p-value by permutation
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Shift:
    """The first place (from 0) of the later stretch, the means before it and from it on, and how sure the split is."""

    place: int
    before: float
    after: float
    p_value: float


def began(log_evidence: ArrayLike) -> int:
    """The row (from 0) from which the evidence rose to its highest: the largest rise from any place to a later one.

    ``log_evidence`` (rows,) is ln M after each row, as ``martingale.advance`` gives it; of a path that only falls, the
    last row. This is the estimate that CUSUM's alarm comes with. Source: Page (1954); Basseville & Nikiforov (1993),
    section 2.2.

    >>> began([-0.1, -0.3, -0.2, 1.5, 4.0])
    2
    """
    path = np.concatenate([[0.0], _series(log_evidence)])
    if len(path) < 2:
        raise InvalidInput("there is no evidence to find a beginning in")
    lowest = np.minimum.accumulate(path[:-1])
    top = int(np.argmax(path[1:] - lowest))
    return int(top - np.argmin(path[: top + 1][::-1]))


def shift_of(values: ArrayLike, *, seed: int, smallest: int = 2, permutations: int = 999) -> Shift | None:
    """The split of ``values`` (n,) with the largest CUSUM |S_k − k S_n / n| / √(k (n − k) / n); None of too few.

    The p-value, (k + 1) / (permutations + 1), is of "the values are exchangeable", which a trend or a season are not:
    they give a small one without a sudden change. Source: Csörgő & Horváth, Limit Theorems in Change-Point
    Analysis (1997), chapter 2.

    >>> found = shift_of([1, 2, 1, 2, 8, 9, 8, 9, 8], seed=0)
    >>> found.place, found.before, found.after, found.p_value <= 0.05
    (4, 1.5, 8.4, True)
    """
    series = _series(values)
    count = len(series)
    if count < 2 * smallest:
        return None
    rng = np.random.default_rng(seed)
    places = np.arange(smallest, count - smallest + 1)
    seen = _cusum(series[None, :], places)[0]
    place = int(places[np.argmax(seen)])
    drawn = rng.permuted(np.broadcast_to(series, (permutations, count)), axis=1)
    # What equals the statistic but for rounding is as extreme.
    more = int((_cusum(drawn, places).max(axis=1) >= seen.max() * (1 - 1e-9)).sum())
    before, after = float(series[:place].mean()), float(series[place:].mean())
    return Shift(place, before, after, (more + 1) / (permutations + 1))


def _cusum(series: Array, places: Array) -> Array:
    """(m, n) series to (m, places): how far the sum of each beginning is from that of a series without change."""
    count = series.shape[1]
    sums = np.cumsum(series, axis=1)
    apart: Array = np.abs(sums[:, places - 1] - places / count * sums[:, -1:])
    apart /= np.sqrt(places * (count - places) / count)
    return apart


def _series(values: ArrayLike) -> Array:
    series = np.asarray(values, np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise InvalidInput("a series is one finite number after the other")
    return series
