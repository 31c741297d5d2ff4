"""Layer 3: whether the model answers otherwise than it did at fit: scores, classes, how sure, and how calibrated.

profile.sample, window.sample ─► detectors (ks, cvm, chi2, fisher) ─► evidence    ┐
profile.summaries, window's   ─► effect over all rows ≥ the fit's noise           ┘─► Judgement a column
labels of the window          ─► calibration against the fit's

check_predictions(profile, window, options=Options(), alpha=ALPHA) -> PredictionFound | None
found.judgements   found.to_dict()   the ``prediction`` part of the document
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlserve.drift.arriving import WindowRows
from mlserve.drift.calibration import sureness
from mlserve.drift.categorical import CategorySummary
from mlserve.drift.detectors.choosing import choose, made
from mlserve.drift.detectors.detector import Finding, Options, Takes
from mlserve.drift.effects import Summary, effect
from mlserve.drift.findings import ALPHA, judge
from mlserve.drift.judgements import Judgement, Layer, worst
from mlserve.drift.miscalibration import judge_calibration
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.predictions import PREFIX
from mlserve.drift.profile import Profile
from mlserve.drift.sample import DrawnRows
from mlserve.drift.scanning import COLUMN, LABEL
from mlserve.rows.tables import Array
from mlserve.stats.distances import jensen_shannon
from mlserve.stats.effects import cramers_v

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SHOWN_CLASSES = 10
CURVE_POINTS = 33
_TOLD = ("error", "loss")
"""Known only with labels: the layer of outcomes judges them."""


@dataclass(frozen=True, slots=True)
class PredictionFound:
    """What layer 3 found. ``before`` and ``after`` are quantiles of the score, ``class_mix`` shares of the classes."""

    output: str | None
    judgements: tuple[Judgement, ...]
    before: dict[str, float] | None
    after: dict[str, float] | None
    class_mix: dict[str, dict[str, float]] | None
    curves: dict[str, list[list[float]]] | None

    @property
    def drift(self) -> bool:
        return any(judgement.drift for judgement in self.judgements)

    def to_dict(self) -> dict[str, Any]:
        """The ``prediction`` part of the document."""
        return {
            "output": self.output,
            "drift": self.drift,
            "severity": worst(self.judgements).word,
            "tests": [judgement.to_dict() for judgement in self.judgements],
            "before": self.before,
            "after": self.after,
            "class_mix": self.class_mix,
            "curves": self.curves,
        }


def check_predictions(
    profile: Profile, window: WindowRows, *, options: Options | None = None, alpha: float = ALPHA
) -> PredictionFound | None:
    """How the model's answers in ``window`` differ from those at fit; None where the profile has none.

    A window without answers has judgements that say so and are no drift. Raises MissingExtra without scipy.
    """
    plan = profile.prediction
    names = [name for name in profile.summaries if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in _TOLD]
    if plan is None or not names:
        return None
    counted = window.arrived.summaries
    one, other = _drawn(profile.sample, names), _drawn(window.sample, names)
    judgements = [
        judge(
            finding,
            Layer.PREDICTION,
            threshold=profile.noise[name].threshold(max(1, window.predicted)),
            effect=effect(profile.summaries[name], counted[name]) if name in counted else None,
            alpha=alpha,
        )
        for name, finding in _findings(profile.summaries, one, other, options or Options()).items()
    ]
    judgements = [_with_mix(judgement, profile.summaries, counted) for judgement in judgements]
    judgements += [
        Judgement(Layer.PREDICTION, name, "answers", detail="the window has no answers of the model")
        for name in names
        if name not in one or name not in other
    ]
    judgements += _calibration(profile, window, options or Options(), alpha)
    score, mix = f"{PREFIX}score", f"{PREFIX}class"
    return PredictionFound(
        plan.score_output or plan.class_output,
        tuple(judgements),
        _quantiles(profile.summaries.get(score)),
        _quantiles(counted.get(score)),
        _mixes(profile.summaries.get(mix), counted.get(mix)),
        _curves(profile.summaries.get(score), counted.get(score)),
    )


def _drawn(sample: DrawnRows, names: Sequence[str]) -> dict[str, Array]:
    """The columns of predictions in the simple random part of a sample."""
    return {
        name: values[sample.is_uniform]
        for name in names
        if (values := sample.columns.get(COLUMN + name)) is not None and sample.is_uniform.any()
    }


def _findings(
    summaries: Mapping[str, Summary], one: Mapping[str, Array], other: Mapping[str, Array], options: Options
) -> dict[str, Finding]:
    """By column, whichever detector suits it: tests of single columns only."""
    kinds = {name: _kind(summaries[name], one[name], other[name]) for name in one if name in other}
    if not kinds:
        return {}
    rows = len(next(iter(one.values()))), len(next(iter(other.values())))
    found: dict[str, Finding] = {}
    for name, kind in kinds.items():
        for choice in choose({name: kind}, rows, engine=options.engine):
            (finding,) = made(choice, options).run({name: one[name]}, {name: other[name]})
            found[name] = finding
    return found


def _kind(summary: Summary, one: Array, other: Array) -> Takes:
    if isinstance(summary, NumericSummary):
        return Takes.NUMERIC
    values = {value for part in (one, other) for value in part.tolist() if value is not None}
    return Takes.BINARY if len(values) <= 2 else Takes.CATEGORICAL


def _with_mix(judgement: Judgement, before: Mapping[str, Summary], after: Mapping[str, Summary]) -> Judgement:
    """Classes told by their shares, with the distances that people know."""
    one, other = (side.get(judgement.name or "") for side in (before, after))
    if not isinstance(one, CategorySummary) or not isinstance(other, CategorySummary) or not other.present:
        return judgement
    names = list(dict.fromkeys([*one.counts, *other.counts]))
    counts = [[side.counts.get(name, 0) for name in names] for side in (one, other)]
    told = f"Jensen–Shannon {jensen_shannon(*counts):.4f}, Cramér's V {cramers_v(*counts):.4f}"
    shares = [_shares(side) for side in (one, other)]
    detail = "; ".join(part for part in (judgement.detail, told) if part)
    return replace(judgement, expected=shares[0], actual=shares[1], detail=detail)


def _calibration(profile: Profile, window: WindowRows, options: Options, alpha: float) -> list[Judgement]:
    labels = window.sample.columns.get(LABEL)
    if not profile.calibration or profile.prediction is None or labels is None:
        return []
    predicted = {
        name.removeprefix(COLUMN): values
        for name, values in window.sample.columns.items()
        if name.startswith(COLUMN + PREFIX)
    }
    known = sureness(profile.prediction, predicted, labels)
    if known is None:
        return []
    probabilities, happened, at = known
    uniform = window.sample.is_uniform[at]
    return [
        judge_calibration(
            profile.calibration, probabilities[uniform], happened[uniform], seed=options.seed, alpha=alpha
        )
    ]


def _quantiles(summary: Summary | None) -> dict[str, float] | None:
    if not isinstance(summary, NumericSummary) or not summary.finite:
        return None
    return {str(share): value for share in QUANTILES if (value := summary.quantile(share)) is not None}


def _mixes(before: Summary | None, after: Summary | None) -> dict[str, dict[str, float]] | None:
    if not isinstance(before, CategorySummary):
        return None
    return {"before": _shares(before), "after": _shares(after) if isinstance(after, CategorySummary) else {}}


def _shares(summary: CategorySummary) -> dict[str, float]:
    """Of the most frequent values."""
    ranked = sorted(summary.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_CLASSES]
    return {name: round(count / summary.present, 6) for name, count in ranked} if summary.present else {}


def _curves(before: Summary | None, after: Summary | None) -> dict[str, list[list[float]]] | None:
    """Distribution functions of the score: pairs of a value and the share of rows up to it."""
    if not isinstance(before, NumericSummary) or not isinstance(after, NumericSummary):
        return None
    shares = np.linspace(0.0, 1.0, CURVE_POINTS).tolist()
    return {
        side: [[value, round(share, 4)] for share in shares if (value := summary.quantile(share)) is not None]
        for side, summary in (("before", before), ("after", after))
    }
