"""How much more often rows of one kind come in a second sample than in a first: weights by a logistic regression.

    reference, window (rows, features) ──► LogisticRegression that tells them apart ──► odds = density ratio
                                                                                   └─► AUC on rows it has not seen
Source: Bickel, Brückner & Scheffer, "Discriminative learning for differing training and test distributions" (2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput
from mlserve.stats.effects import auc

Array = np.ndarray[Any, np.dtype[Any]]

MAX_ODDS = 50.0
"""A row counts at most so many times: beyond, its weight is noise."""
RIDGE = 1.0
_STEPS = 25
_STILL = 1e-7


@dataclass(frozen=True, slots=True)
class Ratio:
    """``weights`` (reference rows,) have mean 1; ``scores`` are log odds of both samples, from models that did not see
    the row; ``auc`` is how well those tell the window's rows, ½ for not at all."""

    weights: Array
    reference_scores: Array
    window_scores: Array
    auc: float

    @property
    def effective_rows(self) -> float:
        """How many rows of equal weight say as much. Source: Kish, Survey Sampling (1965)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


def density_ratio(reference: Array, window: Array, *, seed: int = 0) -> Ratio:
    """The ratio of the window's density to the reference's, at the reference's rows.

    Both are (rows, features), finite. Each row is weighed by a model of the other half. Raises InvalidInput for fewer
    than four rows of either.
    """
    if min(len(reference), len(window)) < 4 or reference.shape[1:] != window.shape[1:]:
        raise InvalidInput("a density ratio needs four rows of each sample at least, and the same features")
    random = np.random.default_rng(seed)
    halves = [random.permutation(len(part)) % 2 for part in (reference, window)]
    scores = [np.empty(len(part)) for part in (reference, window)]
    for half in (0, 1):
        model = fit_logistic(*(part[own != half] for part, own in zip((reference, window), halves, strict=True)))
        for part, own, score in zip((reference, window), halves, scores, strict=True):
            score[own == half] = model(part[own == half])
    odds = np.minimum(np.exp(np.minimum(scores[0], 50.0)), MAX_ODDS)
    return Ratio(odds / odds.mean(), scores[0], scores[1], auc(*scores))


def fit_logistic(zeros: Array, ones: Array) -> Any:
    """A function of rows to their log odds of being like ``ones``, both samples counting the same in all.

    With a ridge on features in standard deviations, by Newton's method.
    """
    rows = np.concatenate([zeros, ones])
    mean, sd = rows.mean(axis=0), rows.std(axis=0)
    wide = np.where(sd > 0, sd, 1.0)

    def design(values: Array) -> Array:
        return np.concatenate([np.ones((len(values), 1)), (values - mean) / wide], axis=1)

    x = design(rows)
    truth = np.repeat([0.0, 1.0], [len(zeros), len(ones)])
    each = np.repeat([0.5 * len(rows) / len(zeros), 0.5 * len(rows) / len(ones)], [len(zeros), len(ones)])
    penalty = np.full(x.shape[1], RIDGE)
    penalty[0] = 1e-9
    found = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (each * (truth - chance)) - penalty * found
        curve = (x * (each * np.maximum(chance * (1 - chance), 1e-6))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        # A whole step may leave what a quadratic describes: never by more than four in any coefficient.
        found += step / max(1.0, float(np.abs(step).max()) / 4)
        if float(np.abs(step).max()) < _STILL:
            break
    return lambda values: design(values) @ found
