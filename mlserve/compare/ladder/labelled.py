"""What labels say of rows, answered twice: the sums that quality is computed from, for outputs of one kind.

Which figures mean something is known only when all labels have been seen (a regression's first hundred labels may all
be 0 and 1), so everything is counted, and so is what speaks against it.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mlserve.compare.calibration import Calibration
from mlserve.stats.intervals import PairedMeans
from mlserve.stats.sampling import CAP, BottomK

Array = np.ndarray[Any, np.dtype[Any]]

LEAST = 1e-15
"""A smaller probability counts as this one in a log loss, which is else infinite."""

_OFF_ONE = 0.01
"""By how much the probabilities of a row may miss 1: half precision of a thousand classes does by less."""

MEANS = ("decided", "score_decided", "log_loss", "brier", "squared", "absolute")
COUNTS = ("not_classes", "not_binary", "not_probabilities", "not_numbers", "not_finite_before", "not_finite_after")


class Labelled:
    """Sums over labelled rows. ``width`` is how many scores a row has, 0 where there are none.

    ``means`` are of what is a mean over rows, by name: shares of right decisions, by the label output and by the
    scores; losses; squared and absolute errors. ``counts`` are of rows that speak against a figure. ROC curves are of
    a sample of each class (exact up to ``cap`` rows of it), so that a class of few rows has all of them.
    """

    def __init__(self, width: int, cap: int = CAP) -> None:
        self.width, self.cap = width, cap
        self.rows = 0
        self.means = {name: PairedMeans() for name in MEANS}
        self.counts = dict.fromkeys(COUNTS, 0)
        self.calibration = Calibration()
        self.positives, self.negatives = BottomK(2, cap), BottomK(2, cap)

    def add_decisions(self, before: Array, after: Array, weights: Array) -> None:
        """Which rows the label output has right: two (rows,) booleans."""
        self.means["decided"].add(before.astype(np.float64), after.astype(np.float64), weights)

    def add_scores(self, before: Array, after: Array, labels: Array, keys: Array, weights: Array) -> None:
        """Rows by their scores, (rows, width) float64; ``labels`` are float64, ``keys`` uint64, all (rows,)."""
        finite = [np.isfinite(side).all(axis=1) for side in (before, after)]
        self.counts["not_finite_before"] += int((~finite[0]).sum())
        self.counts["not_finite_after"] += int((~finite[1]).sum())
        classes = max(self.width, 2)
        is_class = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
        self.counts["not_classes"] += int((~is_class).sum())
        self.counts["not_binary"] += int((~np.isin(labels, (0.0, 1.0))).sum())
        right = [_decided(side) == labels for side in (before, after)]
        self.means["score_decided"].add(right[0].astype(np.float64), right[1].astype(np.float64), weights)

        kept = finite[0] & finite[1]
        before, after, labels, weights, keys = before[kept], after[kept], labels[kept], weights[kept], keys[kept]
        self.counts["not_probabilities"] += int((~_is_probability(before)).sum())
        self._add_classes(before, after, labels, is_class[kept], keys, weights)
        if self.width == 1:
            errors = [side[:, 0] - labels for side in (before, after)]
            self.means["squared"].add(errors[0] ** 2, errors[1] ** 2, weights)
            self.means["absolute"].add(np.abs(errors[0]), np.abs(errors[1]), weights)

    def merge(self, other: Self) -> None:
        self.rows += other.rows
        for name, means in other.means.items():
            self.means[name].merge(means)
        for name, count in other.counts.items():
            self.counts[name] += count
        self.calibration.merge(other.calibration)
        self.positives.merge(other.positives)
        self.negatives.merge(other.negatives)

    def state(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "cap": self.cap,
            "rows": self.rows,
            "means": {name: means.state() for name, means in self.means.items()},
            "counts": dict(self.counts),
            "calibration": self.calibration.state(),
            "positives": self.positives.state(),
            "negatives": self.negatives.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        found = cls(state["width"], state["cap"])
        found.rows = state["rows"]
        found.means = {name: PairedMeans.from_state(one) for name, one in state["means"].items()}
        found.counts = dict(state["counts"])
        found.calibration = Calibration.from_state(state["calibration"])
        found.positives, found.negatives = (BottomK.from_state(state[side]) for side in ("positives", "negatives"))
        return found

    def _add_classes(
        self, before: Array, after: Array, labels: Array, is_class: Array, keys: Array, weights: Array
    ) -> None:
        """Rows of a known class: losses of probabilities, calibration, and samples of both of two classes."""
        if self.width <= 2:
            scores = np.stack([before[:, -1], after[:, -1]], axis=1)
            for value, sample in ((1, self.positives), (0, self.negatives)):
                mine = labels == value
                sample.add(keys[mine], scores[mine], weights[mine])
        truth, weights = labels[is_class].astype(np.int64), weights[is_class]
        # Whoever leaves [0, 1] a little, as quantized models do, is taken by its bound.
        one, other = (np.clip(side[is_class], 0.0, 1.0) for side in (before, after))
        self.means["log_loss"].add(_log_loss(one, truth), _log_loss(other, truth), weights)
        self.means["brier"].add(_brier(one, truth), _brier(other, truth), weights)
        self.calibration.add(_predicted_and_observed(one, truth), _predicted_and_observed(other, truth), weights)


def _decided(scores: Array) -> Array:
    """(rows,) the class of the largest score, of one score whether it is above a half; -1 where one is NaN."""
    best = (scores[:, 0] > 0.5).astype(np.int64) if scores.shape[1] == 1 else scores.argmax(axis=1)
    return np.where(np.isnan(scores).any(axis=1), -1, best)


def _is_probability(scores: Array) -> Array:
    inside = ((scores >= 0) & (scores <= 1)).all(axis=1)
    return np.asarray(inside if scores.shape[1] == 1 else inside & (np.abs(scores.sum(axis=1) - 1) <= _OFF_ONE))


def _log_loss(scores: Array, truth: Array) -> Array:
    if scores.shape[1] == 1:
        given = np.where(truth == 1, scores[:, 0], 1 - scores[:, 0])
    else:
        given = scores[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.maximum(given, LEAST)))


def _brier(scores: Array, truth: Array) -> Array:
    """The squared distance to what happened: of the positive class where there are two, else over all classes."""
    if scores.shape[1] <= 2:
        return np.asarray((scores[:, -1] - truth) ** 2)
    own = scores[np.arange(len(truth)), truth]
    return np.asarray((scores**2).sum(axis=1) - own**2 + (1 - own) ** 2)


def _predicted_and_observed(scores: Array, truth: Array) -> tuple[Array, Array]:
    """Of two classes the positive one's probability and whether it is; else the largest and whether it was right."""
    if scores.shape[1] <= 2:
        return scores[:, -1], truth.astype(np.float64)
    return scores.max(axis=1), (scores.argmax(axis=1) == truth).astype(np.float64)
