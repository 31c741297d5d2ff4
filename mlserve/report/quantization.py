"""The page of a quantization: what was tried and how it stands, layer by layer and row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlserve.report.charts import Bar, Curve, Spot, bars, distribution, interval, plane
from mlserve.report.figures import number
from mlserve.report.page import render_page

TEMPLATE = "quantization.html.j2"
MAX_LAYERS = 24
"""Bars of sensitivities; the others hardly matter."""

MAX_POINTS = 200
"""Of the curve of errors."""


def render_quantization(
    model: str, found: Mapping[str, Any], limit: float, errors: Sequence[float], worst: Sequence[Mapping[str, Any]]
) -> str:
    """The page for ``found``, the document of ``mlserve quantize --json``, of ``model``.

    ``limit`` is what the metric may fall by; ``errors`` are how far each row moved, ascending; ``worst`` rows have
    ``number``, ``error`` and ``inputs``. Raises MissingExtra where jinja2 is not installed.
    """
    tried = found.get("candidates") or [found]
    metric = found["metric"]
    search = found.get("search") or {}
    values = {
        "found": found,
        "title": f"{model} as {found['method']}",
        "candidates": [_candidate(item, found["method"]) for item in tried],
        "front": _front(tried, found["method"], limit) if metric else "",
        "sensitivities": _sensitivities(search.get("sensitivities") or []),
        "search": search,
        "drop": _drop(metric, limit) if metric else "",
        "latency": _latency(found["latency"]),
        "errors": distribution([("rows", _curve(errors))], "how far rows moved", unit="") if any(errors) else "",
        "worst": worst,
    }
    return render_page(TEMPLATE, values)


def _candidate(item: Mapping[str, Any], chosen: str) -> dict[str, Any]:
    layers = ", ".join(f"{count} {kind}" for kind, count in item["layers"].items())
    return {**item, "is_chosen": item["method"] == chosen, "kinds": layers}


def _front(tried: Sequence[Mapping[str, Any]], chosen: str, limit: float) -> str:
    spots = [
        Spot(item["method"], item["speedup"], item["metric"]["drop"], is_marked=item["method"] == chosen)
        for item in tried
        if item["metric"] and item["metric"]["drop"] is not None
    ]
    name = tried[0]["metric"]["name"]
    return plane(spots, "what each is worth", x="times as fast", y=f"fall of {name}", limit=limit)


def _sensitivities(items: Sequence[Mapping[str, Any]]) -> str:
    shown = [Bar(_short(item["layer"]), item["damage"], number(item["damage"])) for item in items[:MAX_LAYERS]]
    return (
        bars(shown, "what each layer does to the answers when quantized alone", label_width=250, in_pairs=False)
        if shown
        else ""
    )


def _short(layer: str) -> str:
    return layer if len(layer) <= 34 else f"…{layer[-33:]}"


def _drop(metric: Mapping[str, Any], limit: float) -> str:
    low, high = metric["interval"]
    if None in (low, high, metric["drop"]):
        return ""
    return interval(low, high, metric["drop"], limit, f"fall of {metric['name']}")


def _latency(latency: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        bars(
            [Bar(f"before, {item['rows']} rows", item["before_ms"], f"{item['before_ms']:.3g} ms"),
             Bar(f"after, {item['rows']} rows", item["after_ms"], f"{item['after_ms']:.3g} ms")],
            f"latency of {item['rows']} rows",
        )
        for item in latency
    ]  # fmt: skip


def _curve(errors: Sequence[float]) -> Curve:
    """Each error with the share of rows that moved no further; infinite ones have no place on an axis."""
    values = np.asarray(errors, dtype=np.float64)
    index = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_POINTS)).round().astype(int))
    return [(float(values[i]), (i + 1) / len(values)) for i in index.tolist() if np.isfinite(values[i])]
