"""Curves laid over each other in linear axes with round numbers: distributions of scores, calibration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

import numpy as np

from mlserve.report.svg import picture, text

WIDTH, HEIGHT = 400, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 14.0, 12.0, 44.0

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of the class ``curve-N`` through ``points``; ``is_filled`` shades what is below, ``dots`` mark points."""

    points: Points
    number: int
    is_filled: bool = False
    has_dots: bool = False


def overlay(lines: Sequence[Line], title: str, *, x: str, y: str = "", diagonal: bool = False) -> str:
    """``lines`` in axes called ``x`` and ``y``; ``diagonal`` draws where both are equal. Without points, an empty text.

    >>> overlay([Line([(0.0, 0.0), (1.0, 2.0)], 0)], "scores", x="score").count("<polyline")
    1
    """
    points = [point for line in lines for point in line.points if isfinite(point[0]) and isfinite(point[1])]
    if not points:
        return ""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    first, last = (min(0.0, *xs), max(1.0, *xs)) if diagonal else _ends(min(xs), max(xs))
    low, high = (min(0.0, *ys), max(1.0, *ys)) if diagonal else _ends(min(0.0, *ys), 1.05 * max(ys))
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def across(value: float) -> float:
        return _LEFT + (value - first) / (last - first) * (right - _LEFT)

    def down(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - _TOP)

    parts = []
    for value in ticks(low, high):
        parts.append(_grid(_LEFT, down(value), right, down(value)))
        parts.append(text(_LEFT - 6, down(value) + 4, f"{value:g}", anchor="end"))
    for value in ticks(first, last):
        parts.append(_grid(across(value), bottom, across(value), bottom + 4))
        parts.append(text(across(value), bottom + 18, f"{value:g}", anchor="middle"))
    parts.append(text(right, bottom + 36, x, anchor="end"))
    if y:
        parts.append(text(_LEFT, bottom + 36, f"upwards: {y}"))
    if diagonal:
        ends = max(first, low), min(last, high)
        places = (
            f'x1="{across(ends[0]):.1f}" y1="{down(ends[0]):.1f}" x2="{across(ends[1]):.1f}" y2="{down(ends[1]):.1f}"'
        )
        parts.append(f'<line class="mark" {places}/>')
    for line in lines:
        drawn = [(across(a), down(b)) for a, b in line.points if isfinite(a) and isfinite(b)]
        parts += _drawn(line, drawn, bottom)
    return picture(parts, WIDTH, HEIGHT, title)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, some ``about`` of them, 1, 2 or 5 times a power of ten apart.

    >>> ticks(0, 1), ticks(-3.2, 11)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 5.0, 10.0])
    """
    span = high - low
    if not (isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** floor(log10(span / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= about + 1e-9)
    digits = max(0, -floor(log10(step)))
    return [round(number * step, digits) for number in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def density(curve: Points, low: float, high: float, bins: int = 48) -> Points:
    """How much of a distribution lies about each value, from its distribution function; steps as points of a line.

    ``curve`` has values, ascending, each with the share that stays within it. Values are (bins,) middles of equal
    parts of ``low`` to ``high``; the height of a part times its width is its share.

    >>> density([(0.0, 0.0), (1.0, 1.0)], 0.0, 1.0, bins=2)
    [(0.25, 1.0), (0.75, 1.0)]
    """
    if not curve:
        return []
    values, shares = np.asarray(curve, dtype=np.float64).T
    edges = np.linspace(low, high, bins + 1)
    # What lies exactly at the lower end belongs to the first part.
    edges[0] = np.nextafter(low, -np.inf)
    heights = np.diff(np.interp(edges, values, shares, left=0.0, right=1.0)) / ((high - low) / bins)
    middles = low + (np.arange(bins) + 0.5) * (high - low) / bins
    return list(zip(middles.tolist(), heights.tolist(), strict=True))


def bulk(curves: Sequence[Points], beyond: float = 0.002) -> tuple[float, float]:
    """The range that holds all of ``curves`` but a share of ``beyond`` at each end of each.

    >>> bulk([[(0.0, 0.0), (1.0, 1.0)]], 0.25)
    (0.25, 0.75)
    """
    ends = []
    for curve in filter(None, curves):
        values, shares = np.asarray(curve, dtype=np.float64).T
        ends += np.interp([beyond, 1 - beyond], shares, values).tolist()
    return _ends(min(ends), max(ends)) if ends else (0.0, 1.0)


def _ends(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _drawn(line: Line, places: Points, bottom: float) -> list[str]:
    if not places:
        return []
    name = f"curve-{line.number}"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = []
    if line.is_filled:
        ends = f"{places[0][0]:.1f},{bottom:.1f}", f"{places[-1][0]:.1f},{bottom:.1f}"
        parts.append(f'<polygon class="area {name}" points="{ends[0]} {path} {ends[1]}"/>')
    parts.append(f'<polyline class="curve {name}" points="{path}"/>')
    if line.has_dots:
        parts += [f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    return parts
