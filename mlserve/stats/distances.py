"""How far apart two distributions are, by their samples or their histograms; numpy only, weights wherever it has any.

ks, wasserstein           two samples of finite values
psi, jensen_shannon       two histograms over the same bins, such as ``quantile_cuts`` and ``histogram`` make
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]


def ks(
    expected: ArrayLike,
    actual: ArrayLike,
    expected_weights: ArrayLike | None = None,
    actual_weights: ArrayLike | None = None,
) -> float:
    """The largest gap between two empirical distribution functions, from 0 to 1 (Kolmogorov and Smirnov's D).

    Samples are 1-D without NaN, weights of the same length and positive. Raises InvalidInput for an empty sample.

    >>> ks([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    one, other, points = _distributions(expected, actual, expected_weights, actual_weights)
    del points
    return float(np.abs(one - other).max())


def wasserstein(
    expected: ArrayLike,
    actual: ArrayLike,
    expected_weights: ArrayLike | None = None,
    actual_weights: ArrayLike | None = None,
) -> float:
    """The first Wasserstein distance, in the unit of the values: the area between two distribution functions.

    Samples are as for ``ks``, and finite. Source: Ramdas, Garcia and Cuturi (2015), section 3.

    >>> wasserstein([0, 1, 3], [5, 6, 8])
    5.0
    """
    one, other, points = _distributions(expected, actual, expected_weights, actual_weights)
    return float((np.abs(one - other)[:-1] * np.diff(points)).sum())


def psi(expected: ArrayLike, actual: ArrayLike) -> float:
    """Population stability index of two histograms over the same bins, in nats.

    ``expected`` and ``actual`` are (bins,) counts. A bin that is empty on one side gets half a count there, so the
    result is finite; one that is empty on both counts for nothing. Raises InvalidInput if the lengths differ or a side
    is empty. Source: Siddiqi, Credit Risk Scorecards (2006), ch. 10.

    >>> round(psi([50, 50], [60, 40]), 4)
    0.0405
    """
    one, other = _histograms(expected, actual)
    used = (one > 0) | (other > 0)
    p, q = (np.where(side[used] > 0, side[used], 0.5) / side.sum() for side in (one, other))
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(expected: ArrayLike, actual: ArrayLike) -> float:
    """The Jensen-Shannon distance of two histograms over the same bins, from 0 (alike) to 1 (nothing in common).

    The square root of the divergence in bits. ``expected`` and ``actual`` are (bins,) counts. Raises InvalidInput if
    the lengths differ or a side is empty. Source: Endres and Schindelin (2003).

    >>> jensen_shannon([1, 1, 0, 0], [0, 0, 3, 3])
    1.0
    """
    one, other = _histograms(expected, actual)
    p, q = one / one.sum(), other / other.sum()
    divergence = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    # Rounding may leave alike histograms a hair below zero.
    return float(np.sqrt(np.clip(divergence, 0.0, 1.0)))


def quantile_cuts(values: ArrayLike, bins: int = 10, weights: ArrayLike | None = None) -> Array:
    """Where to cut so that bins hold about equal shares of ``values``: ascending, the first and last bin open.

    A value with more than a bin's share has a bin to itself. Cuts lie halfway between neighbouring values, so that a
    little noise moves no frequent value into another bin; beyond the least and greatest as far out as their neighbours
    are, and a millionth of a lone value's size. ``values`` are finite, 1-D. Raises InvalidInput where there are none.

    >>> quantile_cuts([1, 2, 3, 4], bins=2).tolist(), quantile_cuts([0, 0, 0, 1], bins=2).tolist()
    ([2.5], [-0.5, 0.5])
    """
    data, mass = _sample(values, weights, "values")
    distinct, place = np.unique(data, return_inverse=True)
    share = np.bincount(place.ravel(), weights=mass) / mass.sum()
    halfway = distinct[:-1] / 2 + distinct[1:] / 2
    alone = 1e-6 * max(abs(float(distinct[0])), 1.0)
    with np.errstate(over="ignore"):
        low = distinct[0] - (halfway[0] - distinct[0] if len(halfway) else alone)
        high = distinct[-1] + (distinct[-1] - halfway[-1] if len(halfway) else alone)
    around = np.concatenate([[low], halfway, [high]])
    # Rounding may leave a sum of shares a hair below the bound that it reaches.
    reached = np.searchsorted(np.cumsum(share), np.arange(1, bins) / bins - 1e-12)
    heavy = np.flatnonzero(share > 1 / bins + 1e-12)
    cuts = around[np.concatenate([reached + 1, heavy, heavy + 1])]
    return np.asarray(np.unique(cuts))


def histogram(values: ArrayLike, cuts: Array, weights: ArrayLike | None = None) -> Array:
    """(cuts + 1,) weights of the values in each bin: above the cut before it and up to its own.

    >>> histogram([1, 2, 3], np.array([2.0])).tolist()
    [2.0, 1.0]
    """
    data = np.asarray(values, np.float64)
    counts = np.bincount(
        np.searchsorted(cuts, data, side="left"),
        weights=None if weights is None else np.asarray(weights, np.float64),
        minlength=len(cuts) + 1,
    )
    return np.asarray(counts, np.float64)


def _distributions(
    expected: ArrayLike, actual: ArrayLike, expected_weights: ArrayLike | None, actual_weights: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Both distribution functions at every value of either, and those values in order."""
    sides = (_sample(expected, expected_weights, "expected"), _sample(actual, actual_weights, "actual"))
    points = np.sort(np.concatenate([values for values, _ in sides]))
    functions = []
    for values, weights in sides:
        order = np.argsort(values, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(weights[order])])
        functions.append(sums[np.searchsorted(values[order], points, side="right")] / sums[-1])
    return functions[0], functions[1], points


def _sample(values: ArrayLike, weights: ArrayLike | None, name: str) -> tuple[Array, Array]:
    data = np.asarray(values, np.float64).ravel()
    if not len(data):
        raise InvalidInput(f"the sample '{name}' is empty")
    if np.isnan(data).any():
        raise InvalidInput(f"the sample '{name}' holds NaN")
    mass = np.ones(len(data)) if weights is None else np.asarray(weights, np.float64).ravel()
    if len(mass) != len(data):
        raise InvalidInput(f"the sample '{name}' has {len(data)} values and {len(mass)} weights")
    return data, mass


def _histograms(expected: ArrayLike, actual: ArrayLike) -> tuple[Array, Array]:
    one, other = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    if one.shape != other.shape:
        raise InvalidInput(f"histograms of {one.size} and {other.size} bins cannot be compared")
    if not one.sum() > 0 or not other.sum() > 0:
        raise InvalidInput("a histogram without a count cannot be compared")
    return one, other


def _relative_entropy(p: Array, q: Array) -> float:
    """In bits."""
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())
