"""Features of a check as its document has them: what was found of each, and how its values lay before and lie now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from mlserve.core.evidence import isoformat
from mlserve.drift.arriving import WindowRows
from mlserve.drift.effects import Summary
from mlserve.drift.judgements import Judgement, Layer
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.profile import Profile
from mlserve.drift.sampled_columns import feature_names

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CURVE_POINTS = 33
TOP = 10
HISTORY = 30
TOLD = (
    "name",
    "statistic",
    "p_value",
    "adjusted_p_value",
    "effect",
    "threshold",
    "drift",
    "severity",
    "detail",
)


def features_part(
    profile: Profile,
    window: WindowRows,
    judgements: Sequence[Judgement],
    *,
    since: Mapping[str, datetime | None],
    history: Mapping[str, Sequence[float | None]],
) -> list[dict[str, Any]]:
    """``features`` of the document: a line for each test of a feature, and for a feature that nothing could test."""
    kinds = {feature.name: feature.kind.value for feature in profile.schema.features}
    found = []
    for name in feature_names(profile):
        before, after = profile.summaries[name], window.arrived.summaries.get(name)
        tests = [one for one in judgements if one.name == name]
        untested = Judgement(Layer.FEATURE, name, "", detail="there is nothing to test")
        began = since.get(name)
        for one in tests or [untested]:
            told = one.to_dict()
            found.append(
                {
                    **{key: told[key] for key in TOLD},
                    "kind": kinds.get(name, "numeric"),
                    "test": one.test or None,
                    "since": None if began is None else isoformat(began),
                    "before": values_part(before),
                    "after": None if after is None else values_part(after),
                    "curves": curves_part(before, after),
                    "history": list(history.get(name, ()))[-HISTORY:],
                }
            )
    return found


def values_part(summary: Summary) -> dict[str, Any]:
    """How the values lie: quantiles of numbers, the most frequent of categories with their shares."""
    is_numeric = isinstance(summary, NumericSummary)
    return {
        "count": summary.rows,
        "null_share": summary.nulls / summary.rows if summary.rows else None,
        "quantiles": {str(share): summary.quantile(share) for share in QUANTILES}
        if isinstance(summary, NumericSummary) and summary.finite
        else None,
        "top": None if is_numeric else _top(summary),
    }


def curves_part(before: Summary, after: Summary | None) -> dict[str, list[list[float]]] | None:
    """Distribution functions of numbers: pairs of a value and the share of rows up to it."""
    if not isinstance(before, NumericSummary) or not isinstance(after, NumericSummary):
        return None
    shares = np.linspace(0.0, 1.0, CURVE_POINTS).tolist()
    return {
        side: [[value, round(share, 4)] for share in shares if (value := summary.quantile(share)) is not None]
        for side, summary in (("before", before), ("after", after))
    }


def histories(documents: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """The effects of each feature in earlier documents, oldest first."""
    found: dict[str, list[float | None]] = {}
    for document in documents:
        seen: dict[str, float | None] = {}
        for one in document.get("features", ()):
            seen.setdefault(one["name"], one.get("effect"))
        for name, value in seen.items():
            found.setdefault(name, []).append(value)
    return found


def as_json(value: Any) -> Any:
    """``value`` with what JSON has no word for as null (infinity, NaN), and numpy's numbers as Python's.

    >>> as_json({"effect": float("inf"), "rows": np.int64(3)})
    {'effect': None, 'rows': 3}
    """
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return isoformat(value) if isinstance(value, datetime) else value


def _top(summary: Any) -> list[list[Any]]:
    ranked = sorted(summary.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
    return [[name, count / summary.present] for name, count in ranked] if summary.present else []
