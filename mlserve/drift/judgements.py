"""One thing that was judged, whatever layer looked: what every layer answers with and the verdict is made of.

A detector's ``Finding`` says what it saw in two samples; a judgement says what that means for a feature of a window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any


class Severity(IntEnum):
    """How bad what was found is; ordered, so that the worst is the largest."""

    NONE = 0
    LOW = 1
    WARN = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Layer(StrEnum):
    """Who looked: rows themselves, each feature, all together, predictions, labels, tensors inside the model."""

    QUALITY = "quality"
    FEATURE = "feature"
    MULTIVARIATE = "multivariate"
    PREDICTION = "prediction"
    CONCEPT = "concept"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One check of one feature (None: of the whole window), also where nothing was found.

    ``test`` names the check; ``effect`` is its size in the unit of that check and ``threshold`` what it must reach;
    ``p_value`` is as measured, ``adjusted_p_value`` after the correction across features. ``drift`` says whether it
    counts as drift. ``expected`` and ``actual`` are small JSON values for people.
    """

    layer: Layer
    name: str | None
    test: str
    severity: Severity = Severity.NONE
    drift: bool = False
    statistic: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    effect: float | None = None
    threshold: float | None = None
    detail: str = ""
    expected: Any = None
    actual: Any = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer.value,
            "name": self.name,
            "test": self.test,
            "severity": self.severity.word,
            "drift": self.drift,
            "statistic": self.statistic,
            "p_value": self.p_value,
            "adjusted_p_value": self.adjusted_p_value,
            "effect": self.effect,
            "threshold": self.threshold,
            "detail": self.detail,
            "expected": self.expected,
            "actual": self.actual,
        }


def worst(judgements: Iterable[Judgement]) -> Severity:
    """The severity of the worst; NONE of none.

    >>> worst([Judgement(Layer.QUALITY, "age", "nulls", Severity.WARN), Judgement(Layer.FEATURE, "age", "ks")]).word
    'warn'
    """
    return max((judgement.severity for judgement in judgements), default=Severity.NONE)
