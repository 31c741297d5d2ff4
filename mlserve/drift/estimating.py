"""How good the model is where nobody knows yet how things turned out; and whether to believe it.

    labelled rows of the reference ─► weights: how much more often such rows come in the window (density ratio)
                                   ─► calibration, or a model of the loss, under those weights
    window's scores and inputs     ─► expected loss a row ─► mean, corrected by the weighted residuals ─► interval

This is right while the same inputs still turn out the same way. That cannot be seen without labels, so every estimate
says so; and it is not ``trusted`` where something says that it is wrong. Sources: NannyML's "confidence-based
performance estimation" for the idea; Robins, Rotnitzky & Zhao (1994) for the correction.

    estimate_performance(profile, window, concept=None, past=()) -> tuple[Estimate, ...]    the main metric first
    performance_part(concept, estimates) -> dict | None      the document's ``performance``
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from mlserve.drift.arriving import WindowRows
from mlserve.drift.calibration import calibration_error, calibration_map, sureness
from mlserve.drift.concept import ConceptFound
from mlserve.drift.design import Design
from mlserve.drift.miscalibration import calibrated
from mlserve.drift.predictions import PREFIX
from mlserve.drift.profile import Profile
from mlserve.drift.sample import DrawnRows
from mlserve.drift.scanning import COLUMN, LABEL
from mlserve.drift.slicing import features_in
from mlserve.rows.tables import Array
from mlserve.stats.density_ratio import Ratio, density_ratio
from mlserve.stats.intervals import Z_975

FEWEST_LABELS = 300
"""Labelled rows of the reference, from which all is learned."""
FEWEST_ROWS = 100
MOVED_AUC = 0.53
"""Below, the window's inputs are those of the reference, and weights would only add noise."""
APART_AUC = 0.98
"""Above, hardly a row of the reference is like the window's."""
LEAST_SHARE, LEAST_EFFECTIVE = 0.05, 100.0
"""What must be left of the reference's rows when they are weighed."""
MAX_CALIBRATION_ERROR = 0.05
MAX_MISSES = 0.25
"""The share of past windows that may have missed their interval."""
CAVEAT = "right only while the same inputs turn out the same way, which no window without labels can show"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What ``metric`` is expected to be in a window; ``value`` and ``interval`` (95 %) None where nobody can say.

    ``effective_rows`` of the reference say as much about the window; ``moved`` is the AUC that tells inputs apart.
    """

    metric: str
    value: float | None
    interval: tuple[float, float] | None
    trusted: bool
    why: str
    effective_rows: float | None = None
    moved: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": None if self.value is None else round(self.value, 6),
            "interval": None if self.interval is None else [round(bound, 6) for bound in self.interval],
            "trusted": self.trusted,
            "why": self.why,
            "effective_rows": None if self.effective_rows is None else round(self.effective_rows, 1),
            "inputs_moved_auc": None if self.moved is None else round(self.moved, 4),
        }


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier window: what was estimated, and what its labels showed later."""

    interval: tuple[float, float]
    realised: float


def estimate_performance(
    profile: Profile,
    window: WindowRows,
    concept: ConceptFound | None = None,
    past: Sequence[Past] = (),
    *,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """What the labels of ``window`` are expected to show: accuracy, and AUC of two classes; of numbers their error.

    ``concept`` is what labels did show, here or in the last windows that had some. None of a model whose answers are
    neither classes nor numbers.
    """
    plan = profile.prediction
    if plan is None or plan.task == "tensor":
        return ()
    metric = "absolute_error" if plan.task == "number" else "accuracy"
    known = _known(profile)
    if len(known) < FEWEST_LABELS:
        why = f"not possible: {len(known):,} rows of the reference have labels, and {FEWEST_LABELS} are needed at least"
        return (Estimate(metric, None, None, trusted=False, why=why),)
    at = np.flatnonzero(window.sample.is_uniform)
    if len(at) < FEWEST_ROWS or f"{COLUMN}{PREFIX}score" not in window.sample.columns:
        why = f"not possible: {len(at):,} rows of the window have answers, and {FEWEST_ROWS} are needed at least"
        if f"{COLUMN}{PREFIX}class" in window.sample.columns and len(at) >= FEWEST_ROWS:
            why = "not possible: the model gives classes without probabilities"
        return (Estimate(metric, None, None, trusted=False, why=why),)
    side = _Sides.of(profile, window.sample, known, at, seed)
    doubts = [*_support(side.ratio, len(known)), *_contradictions(concept), *_misses(past)]
    if plan.task == "number":
        return (_judged(_loss_estimate(side), concept, doubts),)
    if not plan.classes:
        why = "not possible: the model gives scores that are no probabilities"
        return (Estimate(metric, None, None, trusted=False, why=why),)
    doubts += _uncalibrated(side, seed)
    found = [_judged(_accuracy(side), concept, doubts)]
    if len(plan.classes) == 2:
        found.append(_judged(_auc(side, seed), None, doubts))
    return tuple(found)


def performance_part(concept: ConceptFound | None, estimates: Sequence[Estimate]) -> dict[str, Any] | None:
    """The ``performance`` part of the document; None of a model that has neither."""
    if concept is None and not estimates:
        return None
    part: dict[str, Any] = {} if concept is None else concept.to_dict()
    if part.get("metric") is None and estimates:
        part["metric"] = estimates[0].metric
    part["estimated"] = estimates[0].to_dict() if estimates else None
    part["more_estimates"] = [estimate.to_dict() for estimate in estimates[1:]]
    return part


@dataclass(frozen=True, slots=True)
class _Sides:
    """Labelled rows of the reference and rows of the window: how likely they are right, and what turned out.

    ``said`` and ``said_there`` are the probabilities that the calibration is of, ``happened`` whether they came true,
    ``is_second`` whether the class decided for is the one that they are of.
    """

    said: Array
    said_there: Array
    happened: Array
    losses: Array
    is_second: Array
    weights: Array
    ratio: Ratio
    design: Array
    design_there: Array

    @classmethod
    def of(cls, profile: Profile, window: DrawnRows, known: Array, at: Array, seed: int) -> _Sides:
        plan, reference = profile.prediction, profile.sample
        assert plan is not None
        before = {
            name.removeprefix(COLUMN): values[known] for name, values in reference.columns.items() if COLUMN in name
        }
        after = {name.removeprefix(COLUMN): values[at] for name, values in window.columns.items() if COLUMN in name}
        ones = {name: values[known] for name, values in features_in(profile.schema, reference).items()}
        others = {name: values[at] for name, values in features_in(profile.schema, window).items()}
        score = f"{PREFIX}score"
        design = Design(profile.schema, ones)
        x, there = (
            design.matrix(part, {"score": _spread(side[score], before[score])})
            for part, side in ((ones, before), (others, after))
        )
        ratio = density_ratio(x, there, seed=seed)
        weights = ratio.weights if ratio.auc > MOVED_AUC else np.ones(len(known))
        losses = before[f"{PREFIX}error"]
        found = sureness(plan, before, reference.columns[LABEL][known]) if plan.classes else None
        said, happened = (before[score], losses) if found is None else found[:2]
        said_there = after[f"{PREFIX}confidence"] if len(plan.classes) > 2 else after[score]
        is_second = after[f"{PREFIX}class"] == plan.classes[1] if len(plan.classes) == 2 else np.ones(len(at), bool)
        return cls(said, said_there, happened.astype(np.float64), losses, is_second, weights, ratio, x, there)

    @property
    def effective(self) -> float:
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


def _known(profile: Profile) -> Array:
    """The rows of the simple random part of the reference's sample whose error is known."""
    errors = profile.sample.columns.get(f"{COLUMN}{PREFIX}error")
    score = profile.sample.columns.get(f"{COLUMN}{PREFIX}score")
    if errors is None or score is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.isfinite(errors) & np.isfinite(score) & profile.sample.is_uniform)


def _spread(values: Array, reference: Array) -> Array:
    sd = float(np.nanstd(reference))
    found: Array = np.clip((values - np.nanmean(reference)) / sd, -6, 6) if sd > 0 else np.zeros(len(values))
    return found


def _accuracy(side: _Sides) -> Estimate:
    """Of each row of the window the chance that it is right, by the calibration under the window's weights."""
    bins = calibration_map(side.said, side.happened, side.weights)
    here, there = calibrated(bins, side.said), calibrated(bins, side.said_there)
    right_there = np.where(side.is_second, there, 1 - there)
    is_right = 1 - side.losses
    # Being right is that the class came true for which one decided: that the calibration is of, or the other one.
    expected = np.where(is_right == side.happened, here, 1 - here)
    return _corrected("accuracy", right_there, is_right - expected, side, (0.0, 1.0))


def _loss_estimate(side: _Sides) -> Estimate:
    """Of each row of the window the absolute error, by a ridge regression on its features under the weights."""
    x = np.concatenate([np.ones((len(side.design), 1)), side.design], axis=1)
    penalty = np.diag(np.r_[1e-9, np.ones(x.shape[1] - 1)])
    weighed = x * side.weights[:, None]
    found = np.linalg.solve(weighed.T @ x + penalty, weighed.T @ side.losses)
    there = np.concatenate([np.ones((len(side.design_there), 1)), side.design_there], axis=1) @ found
    return _corrected("absolute_error", there, side.losses - x @ found, side, (0.0, np.inf))


def _corrected(metric: str, there: Array, residuals: Array, side: _Sides, bounds: tuple[float, float]) -> Estimate:
    """The mean of what is expected of the window's rows and of the weighted residuals, each with its own error."""
    mean = float(there.mean() + np.average(residuals, weights=side.weights))
    of_residuals = float(((side.weights / side.weights.sum()) ** 2 * residuals**2).sum())
    half = Z_975 * sqrt(float(there.var()) / len(there) + of_residuals)
    low, high = (min(max(bound, bounds[0]), bounds[1]) for bound in (mean - half, mean + half))
    return Estimate(
        metric, min(max(mean, bounds[0]), bounds[1]), (low, high), True, CAVEAT, side.effective, side.ratio.auc
    )


def _auc(side: _Sides, seed: int) -> Estimate:
    """The chance that a row that turns out true scores above one that does not, both as likely as calibrated."""
    random = np.random.default_rng(seed)
    value = _expected_auc(
        side.said_there, calibrated(calibration_map(side.said, side.happened, side.weights), side.said_there)
    )
    drawn = []
    for _ in range(100):
        rows, there = (random.integers(0, size, size) for size in (len(side.said), len(side.said_there)))
        bins = calibration_map(side.said[rows], side.happened[rows], side.weights[rows])
        drawn.append(_expected_auc(side.said_there[there], calibrated(bins, side.said_there[there])))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate("auc", value, (float(low), float(high)), True, CAVEAT, side.effective, side.ratio.auc)


def _expected_auc(scores: Array, chances: Array) -> float:
    """Σ p_i (1 − p_j) over pairs with s_i > s_j, ties counting half, of all pairs.

    >>> round(_expected_auc(np.array([0.2, 0.8]), np.array([0.2, 0.8])), 4)
    0.9412
    """
    _, places = np.unique(scores, return_inverse=True)
    true, false = np.bincount(places, chances), np.bincount(places, 1 - chances)
    below = np.cumsum(false) - false
    # A row is in no pair with itself.
    own = np.bincount(places, chances * (1 - chances))
    pairs = true.sum() * false.sum() - own.sum()
    return float(((true * below).sum() + ((true * false - own) / 2).sum()) / pairs) if pairs > 0 else 0.5


def _support(ratio: Ratio, rows: int) -> list[str]:
    if ratio.auc > APART_AUC:
        return [f"hardly a row of the reference is like the window's (told apart with AUC {ratio.auc:.3f})"]
    effective = ratio.effective_rows
    if ratio.auc > MOVED_AUC and (effective < LEAST_EFFECTIVE or effective < LEAST_SHARE * rows):
        return [f"{rows:,} labelled rows say as much as {effective:.0f} about inputs like the window's"]
    return []


def _uncalibrated(side: _Sides, seed: int) -> list[str]:
    """Whether a calibration from one half of the reference holds in the other."""
    is_one = np.random.default_rng(seed).random(len(side.said)) < 0.5
    bins = calibration_map(side.said[is_one], side.happened[is_one])
    # By the scores as they are: a relation that does not rise hides in bins of what it was mapped to.
    held = calibration_map(side.said[~is_one], side.happened[~is_one])
    mapped = calibrated(bins, np.array([one.predicted for one in held])).tolist()
    error = calibration_error([replace(one, predicted=to) for one, to in zip(held, mapped, strict=True)]) or 0.0
    # Of a perfect calibration each of 15 bins still misses by chance.
    chance = sqrt(15 * 0.25 / max(1, (~is_one).sum()))
    if error > MAX_CALIBRATION_ERROR + chance:
        return [f"the scores were not calibrated at fit (error {error:.3f} on rows held out)"]
    return []


def _contradictions(concept: ConceptFound | None) -> list[str]:
    return ["labels show that the same inputs turn out another way"] if concept is not None and concept.drift else []


def _misses(past: Sequence[Past]) -> list[str]:
    missed = sum(not one.interval[0] <= one.realised <= one.interval[1] for one in past)
    if past and missed > max(1, MAX_MISSES * len(past)):
        return [f"{missed} of the last {len(past)} estimates were wrong once labels came"]
    return []


def _judged(estimate: Estimate, concept: ConceptFound | None, doubts: Sequence[str]) -> Estimate:
    against = _against(estimate, concept)
    reasons = [*doubts, *([against] if against else [])]
    if not reasons:
        return estimate
    return replace(estimate, trusted=False, why="; ".join([*reasons, CAVEAT]))


def _against(estimate: Estimate, concept: ConceptFound | None) -> str | None:
    """Whether labels of the window itself show another figure."""
    if concept is None or concept.level is None or concept.interval is None or estimate.interval is None:
        return None
    shown = sorted(1 - bound if concept.level.metric == "error" else bound for bound in concept.interval)
    if shown[0] <= estimate.interval[1] and estimate.interval[0] <= shown[1]:
        return None
    return f"labels show {estimate.metric.replace('_', ' ')} between {shown[0]:.3f} and {shown[1]:.3f}"
