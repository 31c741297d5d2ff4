"""Points in a plane drawn with letters, for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlserve.report.sketch import MARKS


@dataclass(frozen=True, slots=True)
class Point:
    """A named place; ``note`` is said of it below the picture."""

    name: str
    x: float
    y: float
    note: str = ""


def scatter(points: Sequence[Point], *, x: str, y: str, width: int = 56, height: int = 10) -> list[str]:
    """``points`` in axes called ``x`` and ``y``, both linear; points in one place show the first. Names are below.

    >>> lines = scatter([Point("a", 1, 0), Point("b", 3, 1, "best")], x="speed", y="drop", width=9, height=2)
    >>> lines[1].strip(), lines[2].strip(), lines[-1].strip()
    ('1 │        ○', '0 │●', '○ b  best')
    """
    if not points:
        return []
    cells = [[" "] * width for _ in range(height)]
    (left, right), (bottom, top) = _range([p.x for p in points]), _range([p.y for p in points])
    for number, point in reversed(list(enumerate(points))):
        column = round((point.x - left) / (right - left) * (width - 1))
        row = round((top - point.y) / (top - bottom) * (height - 1))
        cells[row][column] = MARKS[number % len(MARKS)]
    labels = [f"{top:.3g}", *[""] * (height - 2), f"{bottom:.3g}"]
    margin = max(len(label) for label in labels)
    lines = [f"{y}"]
    lines += [f"{label:>{margin}} │{''.join(row)}".rstrip() for label, row in zip(labels, cells, strict=True)]
    lines.append(" " * (margin + 1) + "└" + "─" * width)
    first, last = f"{left:.3g}", f"{right:.3g} {x}"
    lines.append(" " * (margin + 2) + first + last.rjust(width - len(first)))
    lines += [
        f"{' ' * (margin + 2)}{MARKS[n % len(MARKS)]} {point.name}  {point.note}".rstrip()
        for n, point in enumerate(points)
    ]
    return lines


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))
