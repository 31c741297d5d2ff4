"""Rows that depend on each other made into values that hardly do: a value a block, against what is usual at its hour.

    rows of an hour, of a user ──► mean of the block ──► residual against its slot (hour of the week) ──► ``martingale``

A test that is exact for independent rows rejects correctly, and uselessly, when traffic has hours and users.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]

HOURS_A_WEEK = 168


class SeasonalProfile(msgspec.Struct, frozen=True):
    """What is usual in each slot: how many blocks came, their mean, and their summed squared deviations from it."""

    counts: tuple[int, ...]
    means: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, values: ArrayLike, slots: ArrayLike, count: int = HOURS_A_WEEK) -> SeasonalProfile:
        """Of ``values`` (blocks,) in ``slots`` (blocks,), which are 0 to ``count`` − 1. Raises InvalidInput."""
        x, where = _checked(values, slots, count)
        counts = np.bincount(where, minlength=count)
        means = np.bincount(where, x, minlength=count) / np.maximum(counts, 1)
        squares = np.bincount(where, (x - means[where]) ** 2, minlength=count)
        return cls(tuple(counts.tolist()), tuple(means.tolist()), tuple(squares.tolist()))

    def merged(self, other: SeasonalProfile) -> SeasonalProfile:
        """As if all blocks had been seen in one place. Source: Chan, Golub & LeVeque (1983)."""
        n, m = np.array(self.counts), np.array(other.counts)
        total = np.maximum(n + m, 1)
        apart = np.array(other.means) - np.array(self.means)
        means = np.array(self.means) + apart * m / total
        squares = np.array(self.squares) + np.array(other.squares) + apart**2 * n * m / total
        return SeasonalProfile(tuple((n + m).tolist()), tuple(means.tolist()), tuple(squares.tolist()))

    def residuals(self, values: ArrayLike, slots: ArrayLike) -> Array:
        """How far each value is from the mean of its slot, in deviations within slots; (blocks,) float64.

        A slot that was never seen is held against the mean of all. Raises InvalidInput for fewer than two blocks.
        """
        x, where = _checked(values, slots, len(self.counts))
        counts = np.array(self.counts)
        seen = int((counts > 0).sum())
        if counts.sum() < 2:
            raise InvalidInput("what is usual takes two blocks at least")
        everywhere = float((counts * np.array(self.means)).sum() / counts.sum())
        means = np.where(counts > 0, self.means, everywhere)
        freedom = max(int(counts.sum()) - seen, 1)
        sd = float(np.sqrt(sum(self.squares) / freedom))
        found: Array = (x - means[where]) / (sd if sd > 0 else 1.0)
        return found


def block_means(values: ArrayLike, blocks: ArrayLike) -> tuple[Array, Array]:
    """The blocks, rising, and the mean of ``values`` (rows,) in each: rows that came together count as one.

    >>> block_means([1.0, 3.0, 5.0], [7, 7, 9])
    (array([7, 9]), array([2., 5.]))
    """
    x = np.asarray(values, np.float64)
    names, where = np.unique(np.asarray(blocks), return_inverse=True)
    if x.ndim != 1 or x.shape != where.shape or not np.isfinite(x).all():
        raise InvalidInput("blocks take one finite number a row, and a block for each")
    return names, np.bincount(where, x) / np.bincount(where)


def design_effect(values: ArrayLike, clusters: ArrayLike) -> float:
    """How many rows count as one: 1 for independent ones, the size of a cluster where its rows are all alike.

    The variance of the mean by clusters over that by rows; ``values`` and ``clusters`` are (rows,). Rows divided by it
    are the rows that a test may count on. Source: Kish, Survey Sampling (1965), section 5.4.

    >>> round(design_effect([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 3.0, 3.0, 3.0], [0, 0, 0, 1, 1, 1, 2, 2, 2]), 6)
    4.0
    """
    x = np.asarray(values, np.float64)
    names, where = np.unique(np.asarray(clusters), return_inverse=True)
    if x.shape != where.shape or x.ndim != 1 or len(names) < 2:
        raise InvalidInput("a design effect takes one number a row, in two clusters at least")
    spread = x.var(ddof=1)
    if not spread > 0:
        return 1.0
    sums = np.bincount(where, x - x.mean())
    clusters_seen = len(names)
    by_cluster = clusters_seen / (clusters_seen - 1) * float((sums**2).sum()) / len(x) ** 2
    return float(by_cluster / (spread / len(x)))


def _checked(values: ArrayLike, slots: ArrayLike, count: int) -> tuple[Array, Array]:
    x, where = np.asarray(values, np.float64), np.asarray(slots, np.int64)
    if x.ndim != 1 or x.shape != where.shape or not np.isfinite(x).all():
        raise InvalidInput("a season takes one finite number a block, and a slot for each")
    if len(where) and (where.min() < 0 or where.max() >= count):
        raise InvalidInput(f"slots are 0 to {count - 1}")
    return x, where
