"""How often a model is right when it says how sure it is: probabilities in bins, against what turned out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlserve.drift.predictions import PREFIX, PredictionPlan, known_labels
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose probabilities lie close together: their mean, the share that came true, and how many rows."""

    predicted: float
    observed: float
    rows: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Bin:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            return cls(float(fields["predicted"]), float(fields["observed"]), float(fields["rows"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not a bin of a calibration: {fields!r}") from error


def calibration_map(probabilities: Array, happened: Array, weights: Array | None = None, bins: int = BINS) -> list[Bin]:
    """The calibration in ``bins`` of about equally many rows, by rising probability; equal ones stay together.

    ``probabilities``, ``happened`` (bool) and ``weights`` are (rows,).

    >>> calibration_map(np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 0, 1, 0]), bins=2)
    [Bin(predicted=0.1, observed=0.0, rows=2.0), Bin(predicted=0.8, observed=0.5, rows=2.0)]
    """
    if not len(probabilities):
        return []
    each = np.ones(len(probabilities)) if weights is None else weights
    ends = np.unique(np.quantile(probabilities, np.arange(1, bins) / bins, method="lower"))
    cell = np.searchsorted(ends, probabilities)
    rows, predicted, observed = (
        np.bincount(cell, weights=values, minlength=len(ends) + 1)
        for values in (each, each * probabilities, each * happened)
    )
    kept = rows > 0
    return [
        Bin(float(p), float(o), float(n))
        for p, o, n in zip(predicted[kept] / rows[kept], observed[kept] / rows[kept], rows[kept], strict=True)
    ]


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """The mean gap between what was predicted and observed, weighed by rows; None of nothing.

    Source: Naeini et al., Obtaining well calibrated probabilities using Bayesian binning (2015), ECE.
    """
    total = sum(one.rows for one in bins)
    return sum(abs(one.predicted - one.observed) * one.rows for one in bins) / total if total else None


def sureness(plan: PredictionPlan, columns: Mapping[str, Array], labels: Array) -> tuple[Array, Array, Array] | None:
    """The probabilities to calibrate, whether they came true, and which rows are labelled; None without probabilities.

    Of two classes the probability of the second, of more that of the class decided for. ``columns`` are those of the
    predictions; the first two answers have the labelled rows only.
    """
    known = known_labels(labels)
    score, error = columns.get(f"{PREFIX}score"), columns.get(f"{PREFIX}error")
    if not plan.classes or score is None or error is None:
        return None
    is_wrong = error[known] > 0
    if len(plan.classes) > 2:
        return columns[f"{PREFIX}confidence"][known], ~is_wrong, known
    is_second = columns[f"{PREFIX}class"][known] == plan.classes[1]
    return score[known], is_second != is_wrong, known
