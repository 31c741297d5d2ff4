"""The area under two ROC curves of the same rows, and how sure their difference is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from mlserve.stats.intervals import Z_975, Interval

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of one class: their scores ``before`` and ``after``, and ``weights``, all (rows,)."""

    before: Array
    after: Array
    weights: Array


@dataclass(frozen=True, slots=True)
class PairedAuc:
    """AUC ``before`` and ``after``; ``interval`` is the difference's at 95 %, None with a class of fewer than two."""

    before: float
    after: float
    interval: Interval | None


def paired_auc(positives: Side, negatives: Side) -> PairedAuc:
    """The chance that a positive row scores above a negative one, ties counting half, by either score.

    Each class has a row at least. The variance is that of DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, in
    n log n by order (Sun and Xu, 2014), with weights where rows stand for several.

    >>> ones, zeros = Side(np.array([2.0, 3]), np.array([1.0, 3]), np.ones(2)), Side(*np.ones((3, 2)))
    >>> found = paired_auc(ones, zeros)
    >>> found.before, found.after
    (1.0, 0.75)
    """
    above = [_share_below(ones, zeros, negatives.weights) for ones, zeros in _scores(positives, negatives)]
    below = [1 - _share_below(zeros, ones, positives.weights) for ones, zeros in _scores(positives, negatives)]
    before, after = (float(np.average(share, weights=positives.weights)) for share in above)
    difference = after - before
    parts = ((above, positives.weights), (below, negatives.weights))
    if min(len(weights) for _, weights in parts) < 2:
        return PairedAuc(before, after, None)
    half = Z_975 * sqrt(sum(_variance(shares[1] - shares[0], weights, difference) for shares, weights in parts))
    return PairedAuc(before, after, (difference - half, difference + half))


def _scores(positives: Side, negatives: Side) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return (positives.before, negatives.before), (positives.after, negatives.after)


def _share_below(scores: Array, others: Array, weights: Array) -> Array:
    """For each of ``scores`` the weight of ``others`` that are smaller, equal ones counting half, of all."""
    order = np.argsort(others)
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    smaller, smaller_or_equal = (np.searchsorted(others[order], scores, side) for side in ("left", "right"))
    return np.asarray((sums[smaller] + sums[smaller_or_equal]) / 2 / sums[-1])


def _variance(values: Array, weights: Array, mean: float) -> float:
    rows = len(values)
    return float((weights**2 * (values - mean) ** 2).sum() / weights.sum() ** 2 * rows / (rows - 1))
