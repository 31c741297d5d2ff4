"""A window held against a profile by all layers, corrected, and made into one verdict and one document.

    rows ─► 0 quality ─► 1 features, 2 together ─► 3 predictions ─► 4 outcomes ─► corrected ─► verdict
                            memory (LORD++, bets on losses) ─► … ─► memory for the next check

Nothing is read or written here: the same window, profile and memory are the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from mlserve.core.evidence import isoformat, tool_versions
from mlserve.drift.answering import Run
from mlserve.drift.arriving import WindowRows
from mlserve.drift.comparing_features import FeaturesFound, compare_features
from mlserve.drift.concept import ConceptFound, LossState, check_concept
from mlserve.drift.correcting import (
    SHARES,
    Budget,
    Levels,
    PageState,
    after,
    check_p_value,
    corrected,
    levels_of,
    page_state,
)
from mlserve.drift.describing import as_json, features_part
from mlserve.drift.detectors.detector import Options
from mlserve.drift.detectors.engines import ALIBI, engine_in_use
from mlserve.drift.embedding import embed_both, judge_embeddings
from mlserve.drift.estimating import estimate_performance, performance_part
from mlserve.drift.judgements import Judgement, Layer
from mlserve.drift.localising import Localised, localise
from mlserve.drift.prediction import PredictionFound, check_predictions
from mlserve.drift.profile import Profile
from mlserve.drift.quality import judge_quality
from mlserve.drift.tapping import Tapped
from mlserve.drift.verdict import reasons_of, verdict_of
from mlserve.drift.windows import Supply
from mlserve.registry.drifting import Verdict
from mlserve.stats.budget import thresholds

SCHEMA_ID = "mlserve.drift/1"
NAIVE_ALPHA = 0.05
DAYS_A_MONTH = 30.4375
FEWEST_TESTED = 30
"""Of fewer rows nothing is tested: neither is the model asked, nor error spent."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one check leaves for the next, as JSON in the registry; empty before the first."""

    pages: PageState | None = None
    losses: Mapping[str, LossState] = field(default_factory=dict)

    def to_streams(self) -> dict[str, Any]:
        return {
            "pages": msgspec.to_builtins(self.pages),
            "losses": {name: msgspec.to_builtins(state) for name, state in self.losses.items()},
        }

    @classmethod
    def from_streams(cls, streams: Mapping[str, Any]) -> Memory:
        pages = streams.get("pages")
        return cls(
            None if pages is None else msgspec.convert(pages, PageState),
            {name: msgspec.convert(one, LossState) for name, one in (streams.get("losses") or {}).items()},
        )


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """How to check: what is tolerated, which detectors, and the seed of everything drawn."""

    budget: Budget = field(default_factory=Budget)
    detectors: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, layer by layer, and what is remembered from now on."""

    verdict: Verdict
    reasons: tuple[str, ...]
    quality: tuple[Judgement, ...]
    features: tuple[Judgement, ...]
    together: tuple[tuple[Judgement, int], ...]
    prediction: PredictionFound | None
    concept: ConceptFound | None
    performance: dict[str, Any] | None
    embedding: tuple[Judgement, ...]
    localised: Localised | None
    levels: Levels
    p_value: float
    memory: Memory

    @property
    def judgements(self) -> list[Judgement]:
        tests = () if self.prediction is None else self.prediction.judgements
        outcomes = () if self.concept is None else self.concept.judgements
        return [*self.quality, *self.features, *(one for one, _ in self.together), *tests, *outcomes, *self.embedding]


def check(
    profile: Profile,
    window: WindowRows,
    plan: CheckPlan,
    memory: Memory,
    *,
    now: datetime,
    supply: tuple[Supply, str] = ("enough", ""),
    labelled: WindowRows | None = None,
    run: Run | None = None,
    tapped: Tapped | None = None,
) -> Checked:
    """Hold ``window`` against ``profile``.

    ``tapped`` gives what the model makes of rows inside, for layer 5. ``labelled`` are the rows to judge outcomes by,
    where labels come later than rows; else the window's. A window that ``supply`` says cannot be judged is looked at by
    layer 0 alone, and leaves ``memory`` as it is. Raises MissingExtra, UsageError for detectors that suit no column.
    """
    pages = page_state(memory.pages, plan.budget, now)
    levels = levels_of(pages, plan.budget)
    quality = tuple(judge_quality(profile, window.arrived))
    if supply[0] != "enough":
        verdict = verdict_of(supply[0], quality)
        reasons = tuple(reasons_of(quality, supply[1]))
        return Checked(verdict, reasons, quality, (), (), None, None, None, (), None, levels, 1.0, memory)
    correction = plan.budget.correction
    importances = {feature.name: feature.importance for feature in profile.schema.features}
    found = compare_features(
        profile,
        window,
        detectors=plan.detectors,
        options=plan.options,
        level=levels.of(Layer.MULTIVARIATE),
        run=run,
    )
    features = tuple(corrected(found.features, levels, correction, importances))
    together = _together(found, levels, plan)
    prediction = check_predictions(profile, window, options=plan.options, alpha=levels.of(Layer.PREDICTION))
    if prediction is not None:
        prediction = replace(prediction, judgements=tuple(corrected(prediction.judgements, levels, correction)))
    concept = _concept(profile, labelled or window, plan, memory, levels)
    performance = performance_part(concept, estimate_performance(profile, window, concept, seed=plan.options.seed))
    drifting = _drifting(features)
    embedding = _embedding(profile, window, plan, levels, tapped)
    tests = () if prediction is None else prediction.judgements
    tested = [*features, *(one for one, _ in together), *tests, *embedding]
    p_value = check_p_value(tested)
    judgements = [*quality, *tested, *(() if concept is None else concept.judgements)]
    return Checked(
        verdict_of("enough", judgements),
        tuple(reasons_of(judgements)),
        quality,
        features,
        together,
        prediction,
        concept,
        performance,
        embedding,
        localise(profile, window, drifting, seed=plan.options.seed) if _is_told(judgements) else None,
        levels,
        p_value,
        Memory(after(pages, p_value, now), {} if concept is None else dict(concept.states)),
    )


def parts_of(
    checked: Checked,
    profile: Profile,
    window: WindowRows,
    plan: CheckPlan,
    history: Mapping[str, Sequence[float | None]],
) -> dict[str, Any]:
    """The parts of the document that follow from what was found (``mlserve.drift/1``), as JSON values."""
    since = {} if checked.localised is None else checked.localised.since
    tested = [one for one in checked.features if one.p_value is not None]
    pages = checked.memory.pages
    naive_drift = {one.name for one in tested if one.p_value is not None and one.p_value <= NAIVE_ALPHA}
    return {
        **as_json(
            {
                "schema": SCHEMA_ID,
                "engine": engine_said(plan.options.engine),
                "verdict": checked.verdict,
                "reasons": list(checked.reasons),
                "quality": [one.to_dict() for one in checked.quality],
                "features": features_part(profile, window, checked.features, since=since, history=history),
                "multivariate": [{**one.to_dict(), "rows": rows} for one, rows in checked.together],
                "prediction": None if checked.prediction is None else checked.prediction.to_dict(),
                "performance": checked.performance,
                "embedding": [one.to_dict() for one in checked.embedding],
                "evidence": {
                    "kind": "lord++",
                    "limit": checked.levels.check,
                    "p_value": checked.p_value,
                    "path": [] if pages is None else [list(point) for point in pages.path],
                    "alpha": checked.levels.check,
                    "levels": {name: checked.levels.check * share for name, share in SHARES.items()},
                    "false_pages_per_quarter": plan.budget.false_pages_per_quarter,
                    "correction": plan.budget.correction,
                },
                "localisation": None if checked.localised is None else checked.localised.to_dict(),
                "naive": {
                    "alpha": NAIVE_ALPHA,
                    "drifting": len(naive_drift),
                    "expected_false_per_month": NAIVE_ALPHA * len(tested) * plan.budget.checks_per_day * DAYS_A_MONTH,
                },
                "actions": [],
            }
        )
    }


def engine_said(engine: str) -> str | None:
    """Who computes the tests of single columns, with its version; None where nobody can."""
    name = engine_in_use() if engine == "auto" else engine
    if name is None:
        return None
    return f"{name} {tool_versions('alibi-detect' if name == ALIBI else name).get(name, '')}".strip()


def moment(time: datetime | None) -> str | None:
    return None if time is None else isoformat(time)


def _together(found: FeaturesFound, levels: Levels, plan: CheckPlan) -> tuple[tuple[Judgement, int], ...]:
    judged = corrected([one for one, _ in found.together], levels, plan.budget.correction)
    return tuple(zip(judged, (rows for _, rows in found.together), strict=True))


def _embedding(
    profile: Profile, window: WindowRows, plan: CheckPlan, levels: Levels, tapped: Tapped | None
) -> tuple[Judgement, ...]:
    if tapped is None:
        return ()
    seed, alpha = plan.options.seed, levels.of(Layer.EMBEDDING)
    found = judge_embeddings(embed_both(profile, window, tapped, seed=seed), options=plan.options, alpha=alpha)
    return tuple(corrected(found, levels, plan.budget.correction))


def _concept(
    profile: Profile, window: WindowRows, plan: CheckPlan, memory: Memory, levels: Levels
) -> ConceptFound | None:
    if profile.prediction is None:
        return None
    per_day = (profile.reference.rows_per_s or 0.0) * 86_400 or float(window.rows) * plan.budget.checks_per_day
    tolerated = thresholds(
        plan.budget.false_pages_per_quarter / 2,
        check_every_s=86_400 / plan.budget.checks_per_day,
        rows_per_day=per_day,
        share=SHARES[Layer.CONCEPT.value],
    )
    return check_concept(
        profile,
        window,
        memory.losses,
        alpha=levels.of(Layer.CONCEPT) / 2,
        mean_rows=2.0 if tolerated.mean_rows is None else max(tolerated.mean_rows, 2.0),
    )


def _drifting(features: Sequence[Judgement]) -> list[str]:
    """The names of those that drift, by how many times their threshold they moved."""
    found = sorted(
        (one for one in features if one.drift), key=lambda one: -(one.effect or 0.0) / (one.threshold or 1.0)
    )
    return list(dict.fromkeys(one.name for one in found if one.name is not None))


def _is_told(judgements: Sequence[Judgement]) -> bool:
    return any(one.drift for one in judgements)
