"""Counts of positive numbers in bins of equal ratio: quantiles of any range of values that merge exactly."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mlserve.compare.pairs import State

Array = np.ndarray[Any, np.dtype[Any]]

_SHIFT = 45  # leaves 7 of a float64's 52 bits behind the point: 128 bins from one power of two to the next


class LogCounts:
    """How many numbers ≥ 0 were seen, by their leading bits: a bin is at most 1/128 of its numbers wide.

    The bits of positive floats are in the numbers' order, so that a bin's number is a shift away.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, values: Array) -> None:
        """Count ``values``, float64 and none below 0 or NaN, in any shape."""
        bins, counts = np.unique(_bins(values), return_counts=True)
        for number, count in zip(bins.tolist(), counts.tolist(), strict=True):
            self._counts[number] = self._counts.get(number, 0) + count

    def merge(self, other: Self) -> None:
        for number, count in other._counts.items():
            self._counts[number] = self._counts.get(number, 0) + count

    def above(self, value: float) -> int:
        """How many were surely larger than ``value``: those in a higher bin.

        >>> counts = LogCounts()
        >>> counts.add(np.array([0.0, 0.5, 2.0, 3.0]))
        >>> counts.above(0.5), counts.above(2.5)
        (2, 1)
        """
        limit = int(_bins(np.array([value]))[0])
        return sum(count for number, count in self._counts.items() if number > limit)

    def quantile(self, share: float) -> float | None:
        """The number that ``share`` of all are not above, to 1/128 of itself; None of nothing.

        >>> counts = LogCounts()
        >>> counts.add(np.array([1.0, 2.0, 4.0]))
        >>> counts.quantile(0.5)
        2.0
        """
        rank, passed = share * sum(self._counts.values()), 0
        for number in sorted(self._counts):
            passed += self._counts[number]
            if passed >= rank:
                return float(np.array([number << _SHIFT], np.int64).view(np.float64)[0])
        return None

    def state(self) -> State:
        numbers = sorted(self._counts)
        return {"bins": np.array(numbers, np.int64), "counts": np.array([self._counts[n] for n in numbers], np.int64)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        self = cls()
        self._counts = dict(zip(state["bins"].tolist(), state["counts"].tolist(), strict=True))
        return self


def _bins(values: Array) -> Array:
    return np.ascontiguousarray(np.abs(values), np.float64).reshape(-1).view(np.int64) >> _SHIFT
