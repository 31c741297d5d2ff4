"""Counts of values in fixed buckets: cheap to add to, exact to merge, good to about a fifth in a percentile."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

_PER_DECADE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def decades(first: int, last: int) -> tuple[float, ...]:
    """Upper bounds of buckets from 10**``first`` to 10**``last``, six to a decade.

    >>> decades(0, 1)
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
    """
    bounds = [float(f"{step}e{exponent}") for exponent in range(first, last) for step in _PER_DECADE]
    return (*bounds, float(f"1e{last}"))


SECONDS = decades(-5, 2)
"""10 µs to 100 s."""

ROWS = tuple(float(1 << power) for power in range(13))
"""1 to 4096."""


class Histogram(msgspec.Struct, gc=False):
    """How many values lie in each bucket: above the bound before it and up to its own; the last bucket has no bound.

    ``counts`` has one entry more than ``bounds``; ``total`` is the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    @classmethod
    def over(cls, bounds: Sequence[float]) -> Histogram:
        """An empty one."""
        return cls(tuple(bounds), [0] * (len(bounds) + 1))

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_many(self, values: np.ndarray[Any, Any]) -> None:
        """All of ``values``, a 1-D array; the more at once, the less each costs."""
        places = np.searchsorted(self.bounds, values, side="left")
        counts = np.bincount(places, minlength=len(self.counts))
        self.counts = [mine + int(more) for mine, more in zip(self.counts, counts, strict=True)]
        self.total += float(values.sum())

    def merged(self, other: Histogram) -> Histogram:
        """The values of both, which have the same bounds."""
        return Histogram(
            self.bounds,
            [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)],
            self.total + other.total,
        )

    def copy(self) -> Histogram:
        return Histogram(self.bounds, list(self.counts), self.total)

    def since(self, earlier: Histogram) -> Histogram:
        """What came after ``earlier``, a copy of this one from before; all of it where the counts have gone back."""
        counts = [now - then for now, then in zip(self.counts, earlier.counts, strict=True)]
        if min(counts) < 0:
            return self.copy()
        return Histogram(self.bounds, counts, self.total - earlier.total)

    def quantile(self, share: float) -> float | None:
        """The value that ``share`` of all values do not exceed, a straight line within its bucket; None of nothing.

        Values beyond the last bound count as that bound. Source: Prometheus, histogram_quantile.

        >>> Histogram((1.0, 2.0), [0, 4, 0]).quantile(0.5)
        1.5
        """
        wanted = share * self.count
        if not self.count:
            return None
        below, lower = 0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and below + count >= wanted:
                return lower + (bound - lower) * max(0.0, wanted - below) / count
            below += count
            lower = bound
        return self.bounds[-1]
