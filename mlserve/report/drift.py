"""The page of a drift check: verdict and reasons first, then each layer that looked, worst features on top.

document of ``mlserve drift check --json`` ──► one HTML text, no script, pictures within

Whatever a document lacks is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlserve.report.overlays import Line, bulk, density, overlay
from mlserve.report.page import render_page

TEMPLATE = "drift.html.j2"

OPEN_FEATURES = 24
"""So many features stand open; the others unfold."""

DRAWN_FEATURES = 12
SEVERITIES = ("critical", "warn", "low", "none")
GOOD = frozenset({"ok"})
UNKNOWN = frozenset({"insufficient", "stale"})

Document = Mapping[str, Any]
Part = Mapping[str, Any]


def render_drift(document: Document) -> str:
    """The page for ``document``. Every text is escaped. Raises MissingExtra where jinja2 is not installed."""
    features = sorted(document.get("features") or [], key=_badness)
    values = {
        "title": f"Drift of {document.get('ref') or 'a model'}",
        "document": document,
        "verdict": document.get("verdict") or "unknown",
        "tone": _tone(document.get("verdict")),
        "setting": _setting(document),
        "features": [_feature(one, is_drawn=at < DRAWN_FEATURES) for at, one in enumerate(features[:OPEN_FEATURES])],
        "further": [_feature(one, is_drawn=False) for one in features[OPEN_FEATURES:]],
        "drifting": sum(bool(one.get("drift")) for one in features),
        "heat": _heat(features),
        "evidence": _evidence(document.get("evidence") or {}),
        "prediction": document.get("prediction") or {},
        "scores": _curves((document.get("prediction") or {}).get("curves"), "score"),
        "class_mix": _class_mix((document.get("prediction") or {}).get("class_mix") or {}),
        "performance": document.get("performance") or {},
        "localisation": document.get("localisation") or {},
        "quality": sorted(document.get("quality") or [], key=_badness),
        "others": [*(document.get("multivariate") or []), *(document.get("embedding") or [])],
        "actions": document.get("actions") or [],
        "naive": document.get("naive") or {},
    }
    return render_page(TEMPLATE, values)


def _tone(verdict: Any) -> str:
    return "passed" if verdict in GOOD else "" if verdict in UNKNOWN else "failed"


def _badness(part: Part) -> tuple[int, float]:
    """What is worst comes first: by severity, then by how many times its threshold the effect is."""
    severity = str(part.get("severity") or "none")
    return (SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES), -_times(part))


def _times(part: Part) -> float:
    effect, threshold = part.get("effect"), part.get("threshold")
    if not isinstance(effect, (int, float)) or not isinstance(threshold, (int, float)) or not threshold:
        return 0.0
    return float(effect) / float(threshold)


def _feature(part: Part, *, is_drawn: bool) -> dict[str, Any]:
    before, after = part.get("before") or {}, part.get("after") or {}
    return {
        **part,
        "times": _times(part),
        "quantiles": _paired(before.get("quantiles"), after.get("quantiles")),
        "top": _paired(dict(before.get("top") or []), dict(after.get("top") or [])),
        "nulls": (before.get("null_share"), after.get("null_share")),
        "picture": _curves(part.get("curves"), str(part.get("name"))) if is_drawn else "",
    }


def _paired(before: Mapping[Any, Any] | None, after: Mapping[Any, Any] | None) -> list[tuple[str, Any, Any]]:
    """Each key of either with what both sides have for it, in the order of the first."""
    before, after = before or {}, after or {}
    return [(str(key), before.get(key), after.get(key)) for key in dict.fromkeys([*before, *after])]


def _curves(curves: Any, name: str) -> str:
    """Distribution functions before and after over each other as densities; an empty text where there are none."""
    points = [_points((curves or {}).get(side)) for side in ("before", "after")]
    if not all(points):
        return ""
    low, high = bulk(points)
    lines = [Line(density(curve, low, high), number, is_filled=True) for number, curve in enumerate(points)]
    return overlay(lines, f"{name}: how many about each value, before and now", x=name, y="density")


def _points(curve: Any) -> list[tuple[float, float]]:
    return [(float(value), float(share)) for value, share in curve or [] if value is not None and share is not None]


def _heat(features: Sequence[Part]) -> list[dict[str, Any]]:
    """A line a feature, a cell an earlier check: effects as multiples of what is tolerated now, oldest first."""
    found: dict[str, dict[str, Any]] = {}
    for part in features[:OPEN_FEATURES]:
        history, threshold = part.get("history") or [], part.get("threshold")
        if part.get("name") in found or not history or not threshold:
            continue
        effects = [*history, part.get("effect")]
        cells = [None if effect is None else float(effect) / float(threshold) for effect in effects]
        found[part["name"]] = {"name": part["name"], "cells": [_cell(times) for times in cells]}
    longest = max((len(line["cells"]) for line in found.values()), default=0)
    for line in found.values():
        line["cells"] = [_cell(None)] * (longest - len(line["cells"])) + line["cells"]
    return list(found.values())


def _cell(times: float | None) -> dict[str, Any]:
    return {"times": times, "heat": 0.0 if times is None else min(times / 3, 1.0), "is_over": (times or 0.0) >= 1.0}


def _evidence(evidence: Part) -> dict[str, Any]:
    """The path of what is gathered over time, against its limit; moments as days since the first."""
    points = []
    for moment, value in evidence.get("path") or []:
        if value is not None:
            points.append((_moment(moment), float(value)))
    picture = ""
    if len(points) > 1:
        first = points[0][0]
        path = [((at - first) / 86400, value) for at, value in points]
        lines = [Line(path, 1, has_dots=True)]
        if evidence.get("limit") is not None:
            limit = float(evidence["limit"])
            lines.append(Line([(path[0][0], limit), (path[-1][0], limit)], 0))
        picture = overlay(lines, "evidence over time against its limit", x="days", y="evidence")
    return {**evidence, "picture": picture}


def _moment(moment: Any) -> float:
    return datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else float(moment)


def _class_mix(mix: Part) -> list[tuple[str, float | None, float | None]]:
    return _paired(mix.get("before"), mix.get("after"))


def _setting(document: Document) -> list[tuple[str, Any]]:
    window, reference = document.get("window") or {}, document.get("reference") or {}
    told = [
        ("window", window.get("kind")),
        ("rows", window.get("rows")),
        ("from", window.get("start")),
        ("to", window.get("end")),
        ("held against", reference.get("kind")),
        ("its rows", reference.get("rows")),
        ("engine", document.get("engine")),
        ("profile", document.get("profile")),
        ("ended", document.get("ended_at")),
    ]
    return [(name, value) for name, value in told if value is not None]
