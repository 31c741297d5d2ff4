"""Distributions drawn with letters, for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

Curve = Sequence[tuple[float, float]]
"""Values, ascending, each with the share that stays within it."""

LEVELS = "▁▂▃▄▅▆▇█"
MARKS = "●○▲△■□◆◇"
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def sketch(curves: Sequence[tuple[str, Curve]], *, width: int = 64, unit: str = "ms") -> list[str]:
    """Percentiles upwards, values to the right on a logarithmic axis, a mark for each curve; its names below.

    >>> lines = sketch([("a", [(1.0, 0.5), (100.0, 1.0)])], width=21)
    >>> lines[-2].split(), lines[-1]
    (['1', '100', 'ms'], '        ● a')
    """
    values = [value for _, curve in curves for value, _ in curve if value > 0]
    if not values:
        return []
    low, high = log10(min(values)), log10(max(values))
    span = (high - low) or 1.0
    lines = []
    for share in reversed(_SHARES):
        cells = [" "] * width
        for number, (_, curve) in enumerate(curves):
            value = _value_at(curve, share)
            if value is not None:
                cells[round((log10(value) - low) / span * (width - 1))] = MARKS[number % len(MARKS)]
        lines.append(f"{_named(share):>6} │{''.join(cells)}".rstrip())
    first, last = _shown(10**low), f"{_shown(10**high)} {unit}"
    lines.append("       └" + "─" * width)
    lines.append("        " + first + last.rjust(max(width + len(unit) + 1 - len(first), len(last) + 1)))
    lines += [f"        {MARKS[number % len(MARKS)]} {name}" for number, (name, _) in enumerate(curves)]
    return lines


def sparkline(heights: Sequence[float], highest: float | None = None) -> str:
    """Heights as a row of blocks, the lowest for nothing; the tallest is ``highest``, or the largest of them.

    >>> sparkline([0, 1, 2, 4])
    '▁▃▅█'
    """
    top = max(heights, default=0.0) if highest is None else highest
    above = LEVELS[1:]
    steps = [min(len(above), ceil(height / top * len(above) - 1e-9)) if top > 0 else 0 for height in heights]
    return "".join(LEVELS[max(0, step)] for step in steps)


def _value_at(curve: Curve, share: float) -> float | None:
    """The value that ``share`` stays within."""
    return next((value for value, within in curve if within >= share - 1e-12), curve[-1][0] if curve else None)


def _named(share: float) -> str:
    return "least" if share == 0 else f"p{100 * share:g}"


def _shown(value: float) -> str:
    """Three significant digits.

    >>> _shown(0.12345), _shown(1234.5)
    ('0.123', '1230')
    """
    digits = 2 - floor(log10(value)) if value > 0 else 0
    return f"{round(value, digits):g}"
