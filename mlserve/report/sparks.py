"""Distributions of a comparison as rows of blocks, all over the same values, for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

from mlserve.report.overlays import bulk, density
from mlserve.report.sketch import sparkline

BLOCKS = 24

Document = Mapping[str, Any]
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Sparks:
    """What is shown, from ``low`` to ``high``: the baseline's row of blocks (None without) and one a candidate."""

    name: str
    low: str
    high: str
    before: str | None
    after: tuple[str | None, ...]


def sparks(documents: Sequence[Document]) -> list[Sparks]:
    """Latencies (on a logarithmic axis) and scores of the baseline and of each of ``documents``."""
    latencies = [document.get("latency") or {} for document in documents]
    times = [_points((item.get("recorded") or {}).get("curve")) for item in latencies[:1]]
    times += [_points((item.get("replayed") or {}).get("curve")) for item in latencies]
    scores = [(document.get("distribution") or {}).get("curves") or {} for document in documents]
    values = [_points(item.get("expected")) for item in scores[:1]] + [_points(item.get("actual")) for item in scores]
    logs = [[(log(ms), share) for ms, share in curve if ms > 0] for curve in times]
    found = [_row("latency", logs, lambda value: f"{exp(value):.3g} ms"), _row("scores", values, lambda v: f"{v:.3g}")]
    return [row for row in found if row is not None]


def _row(name: str, curves: Sequence[Curve], shown: Any) -> Sparks | None:
    if not any(curves):
        return None
    low, high = bulk(curves)
    heights = [[height for _, height in density(curve, low, high, bins=BLOCKS)] for curve in curves]
    drawn = [sparkline(each) if each else None for each in heights]
    return Sparks(name, shown(low), shown(high), drawn[0], tuple(drawn[1:]))


def _points(curve: Any) -> list[tuple[float, float]]:
    return [(float(value), float(share)) for value, share in curve or []]
