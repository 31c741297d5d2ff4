"""The numbers of an answer of the comparison ladder, by name: what ``--fail-on``, policies and evidence ask for.

answer document ──► figures_of: {"agreement": 0.998, "identical_share": 0.97, "ndcg@10_drop": 0.004, "p99_ms": 1.2,
                                 "outputs.score.max_abs": 3e-7, "coverage.failed": 0, …}

Rows that are counted have a share beside them, metrics and the candidate's percentiles stand by their own names, and
whatever else is a number has its path as name, entries of a list by what they are of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mlserve.compare.quality import METRICS

Document = Mapping[str, Any]

COUNTED = ("identical", "within_tolerance")
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms")
OF_LABELS = frozenset({"accuracy", "auc", "brier", "ece", "f1", "log_loss", "mae", "r2", "rmse"})
"""Metrics that there are only where outcomes are known."""

OF_OUTPUTS = frozenset(
    {"agreement", "js", "kendall_tau_b", "ks", "margin", "mrr", "ndcg", "p_value", "psi", "rbo", "wasserstein"}
)
_TOP = ("requests", "rows", *COUNTED, *(f"{name}_share" for name in COUNTED), "agreement", *PERCENTILES)
_SECTIONS = (
    "coverage", "decisions", "distribution", "lag", "latency", "noise", "outputs", "quality", "ranking", "throughput",
)  # fmt: skip
_LISTS_OF = ("name", "metric", "output")
"""What an entry of a list is known by."""

_METRIC = re.compile(r"(?P<base>[a-z0-9_]+?)(?:@\d+)?(?P<side>_before|_after|_drop|_gain|_difference|_low|_high)?")
_TOP_K = re.compile(r"top\d+_[a-z_]+")


def values_of(document: Document) -> dict[str, float | None]:
    """Every number of ``document``, the answer about one candidate, by name; None where it could not be measured.

    Lists without names (curves, rows, rules) have none.

    >>> values = values_of({"rows": 4, "identical": 3, "agreement": None, "outputs": [{"name": "p", "max_abs": 0.5}]})
    >>> values["identical_share"], values["agreement"], values["outputs.p.max_abs"]
    (0.75, None, 0.5)
    """
    named: dict[str, float | None] = {}
    for key, value in document.items():
        if key in _SECTIONS:
            named |= dict(_within(key, value))
        elif key == "metrics" and isinstance(value, Mapping):
            named |= {name: _number(item) for name, item in value.items() if item is None or _is_number(item)}
        elif _is_number(value) or (value is None and key in _TOP):
            named[key] = _number(value)
    rows = named.get("rows")
    for name in COUNTED:
        counted = named.get(name)
        if name in named:
            named[f"{name}_share"] = counted / rows if rows and counted is not None else None
    latency = document.get("latency")
    if isinstance(latency, Mapping):
        named |= {name: _number(latency[name]) for name in PERCENTILES if name in latency}
    # A section that could not be measured is null as a whole: it is no number that was measured as nothing.
    return {name: value for name, value in named.items() if not (value is None and name in _SECTIONS)}


def figures_of(document: Document) -> dict[str, float]:
    """The numbers of ``document`` that were measured, by name: flat, finite."""
    return {name: value for name, value in values_of(document).items() if value is not None}


def nested(figures: Mapping[str, float]) -> dict[str, Any]:
    """``figures`` as evidence holds them, so that dots reach into objects.

    >>> nested({"agreement": 1.0, "outputs.p.max_abs": 0.5})
    {'agreement': 1.0, 'outputs': {'p': {'max_abs': 0.5}}}
    """
    whole: dict[str, Any] = {}
    for name, value in figures.items():
        *path, last = name.split(".")
        place = whole
        for part in path:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {}
            place = inner
        place[last] = value
    return whole


def is_of_labels(name: str) -> bool:
    """Whether figure ``name`` is known only where outcomes are.

    >>> is_of_labels("accuracy_drop"), is_of_labels("ndcg@10"), is_of_labels("quality.auc.after")
    (True, False, True)
    """
    found = _METRIC.fullmatch(name)
    return name.startswith("quality.") or (found is not None and found["base"] in OF_LABELS)


def may_be(name: str, metrics: Collection[str] = ()) -> bool:
    """Whether some answer can have a figure called ``name``; ``metrics`` are those that the user asked for by name.

    >>> may_be("top5_agreement"), may_be("latency.recorded.p99_ms"), may_be("agrement")
    (True, True, False)
    """
    if name in _TOP or name in metrics or name.partition(".")[0] in _SECTIONS or _TOP_K.fullmatch(name):
        return True
    found = _METRIC.fullmatch(name)
    return found is not None and found["base"] in {
        *OF_LABELS,
        *OF_OUTPUTS,
        *METRICS,
        *(_base(item) for item in metrics),
    }


def usual_names() -> list[str]:
    """Names that people type, for hints."""
    return [
        *_TOP,
        *sorted({*OF_LABELS, *OF_OUTPUTS} - {*_TOP, "ndcg", "margin"}),
        "ndcg@10",
        "ndcg@10_drop",
        "accuracy_drop",
    ]


def _base(metric: str) -> str:
    return metric.partition("@")[0]


def _within(path: str, value: Any) -> Iterator[tuple[str, float | None]]:
    """The numbers below ``value``, each with its path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _within(f"{path}.{key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) == 2 and path.endswith(".interval"):
            stem = path.removesuffix(".interval")
            yield from ((f"{stem}.{side}", _number(item)) for side, item in zip(("low", "high"), value, strict=True))
        for item in value:
            name = next((item[key] for key in _LISTS_OF if key in item), None) if isinstance(item, Mapping) else None
            if isinstance(name, str):
                yield from _within(f"{path}.{name}", item)
    elif value is None or _is_number(value):
        yield path, _number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
