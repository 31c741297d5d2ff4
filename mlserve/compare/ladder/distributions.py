"""Whether scores are spread as they were, whoever got them: the rung that notices a shift that no row shows.

The scores of a bounded sample of rows, by hash of request and place, are kept of both sides; figures are made of that.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mlserve.compare.ladder.scores import scores_of
from mlserve.compare.pairs import Pairs, State
from mlserve.stats.distances import histogram, jensen_shannon, ks, psi, quantile_cuts, wasserstein
from mlserve.stats.sampling import CAP, BottomK

Array = np.ndarray[Any, np.dtype[Any]]

POINTS = 200
"""At most so many points has a curve."""

_Key = tuple[str, str]


class Distributions:
    """The distribution of a score (``scores_of``) before and after: KS, Wasserstein, PSI and Jensen-Shannon.

    Exact up to ``cap`` rows. Requests may ask for different outputs, so each output that was a request's first has a
    sample of its own; the figures are of the one with the most rows. Values that are no finite numbers are counted and
    left out. PSI and JS are over the deciles of the baseline's scores (``quantile_cuts``). There is no p-value: both
    sides answer the same rows, and the tests want independent ones.
    """

    def __init__(self, cap: int = CAP) -> None:
        self.cap = cap
        self._samples: dict[_Key, BottomK] = {}
        self._not_finite: dict[_Key, Array] = {}

    def add(self, pairs: Pairs) -> None:
        scores = scores_of(pairs)
        if scores is None:
            return
        key = (scores.output, scores.what)
        keys = pairs.row_keys
        weights = None if pairs.weights is None else np.repeat(pairs.weights, pairs.rows_each)
        values = np.stack([scores.expected, scores.actual], axis=1)
        self._samples.setdefault(key, BottomK(2, self.cap)).add(keys, values, weights)
        counts = self._not_finite.setdefault(key, np.zeros(2, np.int64))
        counts += np.count_nonzero(~np.isfinite(values), axis=0)

    def merge(self, other: Self) -> None:
        for key, sample in other._samples.items():
            self._samples.setdefault(key, BottomK(2, self.cap)).merge(sample)
            self._not_finite[key] = self._not_finite.get(key, np.zeros(2, np.int64)) + other._not_finite[key]

    def figures(self) -> dict[str, Any]:
        """``distribution`` and its numbers in ``metrics``; None and nothing where no row has a score on both sides.

        A curve is points [value, share of rows that don't exceed it]. ``sample`` is the number of rows it is made of.
        """
        if not self._samples:
            return {"distribution": None, "metrics": {}}
        key = max(self._samples, key=lambda one: (self._samples[one].seen, one))
        sample = self._samples[key]
        rows = sample.rows()
        sides = []
        for column in rows.values.T:
            finite = np.isfinite(column)
            sides.append((column[finite], rows.weights[finite]))
        (before, before_weights), (after, after_weights) = sides
        if not len(before) or not len(after):
            return {"distribution": None, "metrics": {}}
        cuts = quantile_cuts(before, weights=before_weights)
        # Counts of sampled rows, so that half a count of an empty bin is half of one of those.
        counts = [histogram(values, cuts, weights / weights.mean()) for values, weights in sides]
        metrics = {
            "ks": ks(before, after, before_weights, after_weights),
            "wasserstein": wasserstein(before, after, before_weights, after_weights),
            "psi": psi(*counts),
            "js": jensen_shannon(*counts),
        }
        gone = self._not_finite[key]
        figures = {
            "output": key[0],
            "score": key[1],
            **metrics,
            "rows": sample.seen,
            "sample": len(rows.values),
            "not_finite": {"expected": int(gone[0]), "actual": int(gone[1])},
            "curves": {
                "expected": distribution_curve(before, before_weights),
                "actual": distribution_curve(after, after_weights),
            },
        }
        return {"distribution": figures, "metrics": metrics}

    def state(self) -> State:
        return {
            "cap": self.cap,
            "outputs": [
                {"output": key[0], "what": key[1], "not_finite": self._not_finite[key], "sample": sample.state()}
                for key, sample in self._samples.items()
            ],
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        rung = cls(state["cap"])
        for one in state["outputs"]:
            key = (one["output"], one["what"])
            rung._samples[key] = BottomK.from_state(one["sample"])
            rung._not_finite[key] = np.array(one["not_finite"], np.int64)
        return rung


def distribution_curve(values: Array, weights: Array, points: int = POINTS) -> list[list[float]]:
    """[value, share of the weight that doesn't exceed it] at up to ``points`` values, evenly spaced by share.

    >>> distribution_curve(np.array([3.0, 1.0, 1.0, 2.0]), np.ones(4))
    [[1.0, 0.5], [2.0, 0.75], [3.0, 1.0]]
    """
    distinct, place = np.unique(values, return_inverse=True)
    sums = np.cumsum(np.bincount(place.ravel(), weights=weights))
    shares = sums / sums[-1]
    if len(distinct) > points:
        # The first and the last are always there, and so are the ends of long flat parts.
        at = np.unique(np.searchsorted(shares, np.linspace(shares[0], 1.0, points)).clip(0, len(distinct) - 1))
        distinct, shares = distinct[at], shares[at]
    return [[float(value), float(share)] for value, share in zip(distinct, shares, strict=True)]
