"""A metric's difference with its interval, as a picture in a table's cell and a word for what it shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from mlserve.report.svg import picture

WIDTH, HEIGHT = 150, 22


def judged_difference(item: Mapping[str, Any]) -> dict[str, Any]:
    """``item``, an entry of an answer's ``quality``, with its ``verdict`` and ``picture``.

    The verdict is better or worse only where the whole interval is.

    >>> item = {"difference": 0.2, "interval": [0.1, 0.3], "higher_is_better": False}
    >>> judged_difference(item)["verdict"]
    'worse'
    """
    low, high = item.get("interval") or (None, None)
    verdict = _verdict(low, high, is_higher_better=item.get("higher_is_better", True))
    return {**item, "verdict": verdict, "picture": _picture(low, item.get("difference"), high, verdict)}


def _verdict(low: float | None, high: float | None, *, is_higher_better: bool) -> str:
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        return "not known"
    if low <= 0 <= high:
        return "no difference shown"
    return "better" if (low > 0) == is_higher_better else "worse"


def _picture(low: float | None, point: float | None, high: float | None, verdict: str) -> str:
    """The interval on a line with zero in its middle."""
    if low is None or high is None or point is None or not all(map(isfinite, (low, high, point))):
        return ""
    reach = 1.1 * max(abs(low), abs(high), abs(point)) or 1.0

    def place(value: float) -> float:
        return WIDTH / 2 + value / reach * (WIDTH / 2 - 4)

    kind = verdict if verdict in ("better", "worse") else "open"
    middle = HEIGHT / 2
    parts = [
        f'<line class="axis" x1="2" y1="{middle}" x2="{WIDTH - 2}" y2="{middle}"/>',
        f'<line class="zero" x1="{WIDTH / 2}" y1="2" x2="{WIDTH / 2}" y2="{HEIGHT - 2}"/>',
        f'<line class="reach {kind}" x1="{place(low):.1f}" y1="{middle}" x2="{place(high):.1f}" y2="{middle}"/>',
        f'<circle class="reach-point {kind}" cx="{place(point):.1f}" cy="{middle}" r="4.5"/>',
    ]
    return picture(parts, WIDTH, HEIGHT, f"{verdict}: {low:.4g} to {high:.4g}")
