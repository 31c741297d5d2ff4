"""How large a difference is, whatever the number of rows: from samples, or from counts of categories.

numbers      wasserstein_sd                       0 for none; 0.1 to 0.3 is what people call small
categories   total_variation, jensen_shannon, cramers_v      0 to 1
two classes  auc                                  ½ for none
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mlserve.errors import InvalidInput
from mlserve.stats.distances import wasserstein

Array = np.ndarray[Any, np.dtype[Any]]


def wasserstein_sd(reference: ArrayLike, window: ArrayLike) -> float:
    """The mean way that values moved, in standard deviations of the reference; infinite where that one is constant.

    Samples are (rows,); only finite values count. Raises InvalidInput where a side has none.

    >>> round(wasserstein_sd([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]), 4)
    0.8944
    """
    one, other = _finite(reference), _finite(window)
    moved = wasserstein(one, other)
    sd = float(one.std())
    return moved / sd if sd > 0 else (0.0 if moved == 0 else float("inf"))


def total_variation(expected: ArrayLike, actual: ArrayLike) -> float:
    """The share of rows that would have to change their category: half the summed difference of shares, 0 to 1.

    >>> total_variation([50, 50], [60, 40])
    0.1
    """
    p, q = _shares(expected, actual)
    return round(float(np.abs(p - q).sum() / 2), 15)


def cramers_v(expected: ArrayLike, actual: ArrayLike) -> float:
    """√(χ² / n) of the table of two samples by categories, 0 to 1. Source: Cramér (1946), section 21.9.

    >>> round(cramers_v([50, 50], [60, 40]), 4)
    0.1005
    """
    table = np.stack([np.asarray(expected, np.float64), np.asarray(actual, np.float64)])
    _shares(*table)
    table = table[:, table.sum(axis=0) > 0]
    wanted = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(np.sqrt(((table - wanted) ** 2 / wanted).sum() / table.sum()))


def auc(reference: ArrayLike, window: ArrayLike) -> float:
    """The chance that a score of the window exceeds one of the reference, ties counting half. Source: Mann & Whitney.

    >>> auc([0.1, 0.4], [0.4, 0.8])
    0.875
    """
    one, other = np.sort(_finite(reference)), _finite(window)
    below = np.searchsorted(one, other, side="left") + np.searchsorted(one, other, side="right")
    return float(below.mean() / (2 * len(one)))


def _finite(values: ArrayLike) -> Array:
    found = np.asarray(values, np.float64)
    found = np.extract(np.isfinite(found), found)
    if not len(found):
        raise InvalidInput("a sample without a finite value has no size to compare")
    return found


def _shares(expected: ArrayLike, actual: ArrayLike) -> tuple[Array, Array]:
    p, q = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    if p.shape != q.shape or p.ndim != 1 or not p.sum() > 0 or not q.sum() > 0:
        raise InvalidInput("counts are over the same categories, and neither sample is empty")
    return p / p.sum(), q / q.sum()
