"""What a model's answers cost, once it is known how things turned out: as bounded numbers, and how much at fit.

    prediction.error   0 or 1 of classes                             ─► error
                       |answer − label| of numbers                   ─► absolute_error
    prediction.loss    −ln of the probability given to the truth     ─► log_loss
                       (answer − label)²                             ─► squared_error

Losses without an upper bound are cut at some times of what nearly every row of the reference stays below: a mean of
what has no bound can be told from chance by no number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from mlserve.drift.predictions import PREFIX, PredictionPlan
from mlserve.drift.profile import Profile
from mlserve.drift.scanning import COLUMN
from mlserve.rows.tables import Array
from mlserve.stats.intervals import Z_975

Metric = Literal["error", "absolute_error", "log_loss", "squared_error"]

FEWEST_LABELS = 50
"""Fewer labelled rows of the reference say too little of what is usual."""
LEAST_MARGIN = 0.01
MARGIN_SHARE = 0.1
"""What a loss may rise by before anybody acts: a hundredth of its bound, or a tenth of what it was."""
BOUND_QUANTILE, BOUND_TIMES = 0.99, 3.0


@dataclass(frozen=True, slots=True)
class LossLevel:
    """The loss in ``column`` at fit. ``fitted`` is its mean over ``rows`` labelled rows, each cut at ``bound``.

    ``limit`` is what a mean may reach before it has risen: the fitted one, as uncertain as it is, and a margin. All are
    in the loss's own unit; ``scaled`` are shares of ``bound``.
    """

    metric: Metric
    column: str
    bound: float
    fitted: float
    limit: float
    rows: int

    def scaled(self, losses: Array) -> Array:
        """``losses`` (rows,) as shares of the bound, in [0, 1]."""
        found: Array = np.clip(losses / self.bound, 0.0, 1.0)
        return found

    @property
    def scaled_limit(self) -> float:
        return self.limit / self.bound


def fitted_levels(profile: Profile) -> tuple[LossLevel, ...]:
    """The levels of every loss that the reference's labels gave, the main one first; none of too few labels."""
    plan = profile.prediction
    if plan is None:
        return ()
    levels = (_level(profile, metric, PREFIX + column) for column, metric in metrics_of(plan).items())
    return tuple(level for level in levels if level is not None)


def metrics_of(plan: PredictionPlan) -> Mapping[str, Metric]:
    """What the columns ``error`` and ``loss`` hold."""
    if plan.task == "number":
        return {"error": "absolute_error", "loss": "squared_error"}
    return {"error": "error", "loss": "log_loss"}


def limit_of(losses: Array, weights: Array | None = None, *, margin: float = 0.0) -> tuple[float, float]:
    """The mean of ``losses`` (rows,), shares of their bound, and the limit that a later mean must exceed.

    ``margin`` is of ordinary change. The limit is above what the mean may be by chance (97.5 %), since the reference is
    a sample too.

    >>> low, high = limit_of(np.repeat([0.0, 1.0], [900, 100]))
    >>> round(low, 3), round(high, 4)
    (0.1, 0.1306)
    """
    each = np.ones(len(losses)) if weights is None else weights
    mean = float(np.average(losses, weights=each))
    rows = float(each.sum() ** 2 / (each**2).sum())
    variance = float(np.average((losses - mean) ** 2, weights=each))
    usual = max(LEAST_MARGIN, MARGIN_SHARE * mean, margin)
    # Two rows more: a reference without an error is no proof that there are none.
    return mean, mean + Z_975 * sqrt(variance / rows) + 2 / rows + usual


def _level(profile: Profile, metric: Metric, column: str) -> LossLevel | None:
    values = profile.sample.columns.get(COLUMN + column)
    if values is None:
        return None
    known = np.isfinite(values)
    if known.sum() < FEWEST_LABELS:
        return None
    losses, weights = values[known], profile.sample.weights[known]
    bound = 1.0 if metric == "error" else BOUND_TIMES * float(np.quantile(losses, BOUND_QUANTILE))
    bound = bound if bound > 0 else 1.0
    noise = profile.noise.get(column)
    by_time = 0.0 if noise is None or noise.by_time is None else noise.by_time * float(losses.std()) / bound
    fitted, limit = limit_of(np.clip(losses / bound, 0.0, 1.0), weights, margin=by_time)
    return LossLevel(metric, column, bound, fitted * bound, limit * bound, int(known.sum()))
