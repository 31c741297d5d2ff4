"""From many p-values, day after day, to few false pages: one number of the user decides what alerts.

    false pages a quarter ─┬─ half: a level of every check, the same each time          (``budget``)
                           └─ half: LORD++, anew each quarter, which earns by alarms     (``online_fdr``)
    level of a check ──share of a layer──► its tests, corrected across features ──► adjusted p ≤ level
                                                                             and effect ≥ learned threshold ─► alert

The larger of both levels counts, so the expected number of false pages is at most the sum of both halves. What a
p-value cannot say, a size that matters, is asked too: a test whose effect is below its threshold alerts nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from mlserve.core.evidence import isoformat
from mlserve.drift.findings import CRITICAL_TIMES
from mlserve.drift.judgements import Judgement, Layer, Severity
from mlserve.stats.budget import shared, thresholds
from mlserve.stats.multiplicity import Correction, adjusted
from mlserve.stats.online_fdr import LordState, judged, next_level

WEIGHTS: Mapping[Layer, float] = {
    Layer.FEATURE: 4,
    Layer.PREDICTION: 2,
    Layer.MULTIVARIATE: 2,
    Layer.CONCEPT: 2,
    Layer.EMBEDDING: 1,
}
"""How much of the false pages each layer may spend."""
SHARES = shared({layer.value: weight for layer, weight in WEIGHTS.items()})
CHANCE_AUC = 0.5
"""What a classifier reaches that cannot tell window from reference."""
OF_AUC = ("classifier", "spot-the-diff")
UNIMPORTANT = 0.1
"""A feature that weighs less, of a most important one's 1, is told and pages nobody."""
PATH = 120
"""So many checks the path of the evidence goes back."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the user tolerates and how often a check runs; how p-values of one check are corrected."""

    false_pages_per_quarter: float = 1.0
    checks_per_day: float = 1.0
    correction: Correction = "bh"


class PageState(msgspec.Struct, frozen=True):
    """What is kept from check to check: the quarter since 1970, what LORD++ remembers of it, and the latest checks.

    ``path`` has a time and the check's p-value each, which is against the level of all layers together.
    """

    quarter: int
    lord: LordState
    path: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Levels:
    """The level of this check: of all layers together, and of each."""

    check: float
    fixed: float
    online: float

    def of(self, layer: Layer) -> float:
        return self.check * SHARES[layer.value]


def page_state(kept: PageState | None, budget: Budget, now: datetime) -> PageState:
    """What LORD++ remembers at ``now``: nothing in a new quarter, or where the user tolerates another number."""
    half = budget.false_pages_per_quarter / 2
    # Of true hypotheses only, E[V] ≤ α E[max(R, 1)] ≤ α (1 + E[V]), so this α leads to half of the pages.
    start = LordState.start(min(half / (1 + half), 0.5))
    quarter = now.year * 4 + (now.month - 1) // 3
    if kept is None:
        return PageState(quarter, start)
    if kept.quarter != quarter or kept.lord.alpha != start.alpha:
        return PageState(quarter, start, kept.path)
    return kept


def levels_of(state: PageState, budget: Budget) -> Levels:
    """The level that the next check has.

    >>> from datetime import UTC
    >>> levels = levels_of(page_state(None, Budget(), datetime(2026, 3, 1, tzinfo=UTC)), Budget())
    >>> round(levels.fixed, 4), round(levels.online, 4), round(levels.of(Layer.FEATURE), 4)
    (0.0055, 0.0091, 0.0033)
    """
    fixed = thresholds(budget.false_pages_per_quarter / 2, check_every_s=86_400 / budget.checks_per_day).alpha_per_check
    online = next_level(state.lord)
    return Levels(max(fixed, online), fixed, online)


def corrected(
    judgements: Sequence[Judgement],
    levels: Levels,
    correction: Correction,
    importances: Mapping[str, float | None] | None = None,
) -> list[Judgement]:
    """The judgements of one layer with adjusted p-values, ``drift`` by evidence and effect, and severity.

    Those without a p-value stay as they are. ``importances`` are by feature, 0 to 1.
    """
    at = [place for place, one in enumerate(judgements) if one.p_value is not None]
    values = adjusted([judgements[place].p_value or 0.0 for place in at], correction)
    found = list(judgements)
    for place, value in zip(at, values.tolist(), strict=True):
        one = replace(judgements[place], adjusted_p_value=value)
        is_drift = value <= levels.of(one.layer) and is_large(one)
        weight = _weight(one.name, importances or {})
        found[place] = replace(one, drift=is_drift, severity=severity_of(one, weight) if is_drift else Severity.NONE)
    return found


def is_large(one: Judgement) -> bool:
    """Whether the effect is as large as what matters."""
    return one.effect is not None and one.effect >= (one.threshold or 0.0)


def severity_of(one: Judgement, weight: float = 1.0) -> Severity:
    """How bad drift of this size is: by multiples of its threshold, and by how much the feature weighs.

    >>> [severity_of(Judgement(Layer.FEATURE, "age", "ks", effect=e, threshold=0.1)).word for e in (0.2, 0.6)]
    ['warn', 'critical']
    """
    if weight < UNIMPORTANT:
        return Severity.LOW
    effect, threshold = one.effect or 0.0, one.threshold or 0.0
    if one.test in OF_AUC:
        effect, threshold = effect - CHANCE_AUC, threshold - CHANCE_AUC
    return Severity.CRITICAL if threshold > 0 and effect * weight >= CRITICAL_TIMES * threshold else Severity.WARN


def check_p_value(judgements: Sequence[Judgement]) -> float:
    """The p-value of the whole check, 1 where nothing is large: at most the level iff something alerts."""
    scaled = [
        one.adjusted_p_value / SHARES[one.layer.value]
        for one in judgements
        if one.adjusted_p_value is not None and one.layer in WEIGHTS and is_large(one)
    ]
    return min([1.0, *scaled])


def after(state: PageState, p_value: float, now: datetime) -> PageState:
    """What is remembered once a check has come to ``p_value``."""
    lord, _ = judged(state.lord, p_value)
    return PageState(state.quarter, lord, (*state.path, (isoformat(now), p_value))[-PATH:])


def _weight(name: str | None, importances: Mapping[str, float | None]) -> float:
    """Against the most important feature; 1 where nobody said."""
    known = [value for value in importances.values() if value]
    said = importances.get(name or "")
    return 1.0 if said is None or not known else said / max(known)
