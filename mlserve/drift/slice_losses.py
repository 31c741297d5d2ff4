"""The loss in parts of the data: a model can be as good as ever in all, and wrong for some."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import Any

import numpy as np

from mlserve.drift.judgements import Judgement, Layer, Severity
from mlserve.drift.losses import LossLevel, limit_of
from mlserve.drift.profile import Profile
from mlserve.drift.sample import DrawnRows
from mlserve.drift.scanning import COLUMN
from mlserve.drift.slicing import features_in, slices_of
from mlserve.rows.tables import Array
from mlserve.stats.e_values import e_benjamini_hochberg, log_e_value

FEWEST_ROWS = 30
SHOWN = 10


@dataclass(frozen=True, slots=True)
class SliceLoss:
    """The mean loss of the window's labelled ``rows`` in a slice, and ``fitted`` what it was there at fit.

    ``log_evidence`` is ln of the e-value against "no worse than ``limit``".
    """

    where: str
    rows: int
    loss: float
    fitted: float
    limit: float
    log_evidence: float
    drift: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "where": self.where,
            "rows": self.rows,
            "loss": round(self.loss, 6),
            "fitted": round(self.fitted, 6),
            "drift": self.drift,
        }

    def judgement(self, level: LossLevel) -> Judgement:
        return Judgement(
            Layer.CONCEPT,
            self.where,
            f"{level.metric} of a slice",
            Severity.WARN if self.drift else Severity.NONE,
            self.drift,
            statistic=self.log_evidence,
            p_value=min(1.0, exp(-max(self.log_evidence, 0.0))),
            effect=self.loss - self.fitted,
            threshold=self.limit - self.fitted,
            detail=f"{self.rows:,} labelled rows",
            expected=self.fitted,
            actual=self.loss,
        )


def judge_slices(
    profile: Profile, window: DrawnRows, level: LossLevel, at: Array, *, alpha: float
) -> tuple[SliceLoss, ...]:
    """The slices whose loss stands out most, at most ``SHOWN``; ``at`` are the window's labelled rows, by place.

    Of all slices that are called worse at most the share ``alpha`` is not, in the mean.
    """
    reference = profile.sample
    losses = reference.columns[COLUMN + level.column]
    known = np.flatnonzero(np.isfinite(losses))
    before, weights = level.scaled(losses[known]), reference.weights[known]
    after = level.scaled(window.columns[COLUMN + level.column][at])
    ones = {name: values[known] for name, values in features_in(profile.schema, reference).items()}
    others = {name: values[at] for name, values in features_in(profile.schema, window).items()}
    # Beyond chance a slice may change as much as all of them do from piece to piece.
    margin = max(0.0, level.scaled_limit - limit_of(before, weights)[1])
    found: list[SliceLoss] = []
    for part in slices_of(profile.schema, ones):
        here, there = part.holds(ones), part.holds(others) if others else np.zeros(len(after), bool)
        if min(here.sum(), there.sum()) < FEWEST_ROWS:
            continue
        fitted, limit = limit_of(before[here], weights[here], margin=margin)
        mean, evidence = float(after[there].mean()), log_e_value(after[there], limit)
        bound = level.bound
        found.append(
            SliceLoss(part.where, int(there.sum()), mean * bound, fitted * bound, limit * bound, evidence, drift=False)
        )
    return _ranked(found, alpha)


def _ranked(found: list[SliceLoss], alpha: float) -> tuple[SliceLoss, ...]:

    if not found:
        return ()
    rejected = e_benjamini_hochberg(np.array([one.log_evidence for one in found]), alpha)
    marked = [replace(one, drift=bool(is_rejected)) for one, is_rejected in zip(found, rejected, strict=True)]
    return tuple(sorted(marked, key=lambda one: -one.log_evidence)[:SHOWN])
