"""Small pictures as SVG text: bars of two values, and an interval against a limit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from mlserve.report.svg import picture, text

WIDTH = 520
LABEL_WIDTH = 120
VALUE_WIDTH = 90
ROW_HEIGHT = 26
_CURVE_COLOURS = 6

Curve = Sequence[tuple[float, float]]
"""Values, ascending, each with the share that stays within it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, its length relative to the longest, and the text at its end."""

    label: str
    value: float
    shown: str


def bars(items: Sequence[Bar], title: str, *, label_width: int = LABEL_WIDTH, in_pairs: bool = True) -> str:
    """Horizontal bars from a common zero; ``title`` is read to those who cannot see it. Negative values have no bar.
    ``in_pairs`` every other bar is paler.

    >>> bars([Bar("before", 2.0, "2 ms"), Bar("after", 1.0, "1 ms")], "latency").count("<rect")
    2
    """
    longest = max((item.value for item in items), default=0.0) or 1.0
    room = WIDTH - label_width - VALUE_WIDTH
    parts = []
    for row, item in enumerate(items):
        top = row * ROW_HEIGHT
        length = max(item.value, 0.0) / longest * room
        kind = row % 2 if in_pairs else 1
        parts += [
            text(label_width - 8, top + 17, item.label, anchor="end"),
            f'<rect class="bar-{kind}" x="{label_width}" y="{top + 5}" width="{length:.1f}" height="16" rx="2"/>',
            text(label_width + length + 6, top + 17, item.shown),
        ]
    return picture(parts, WIDTH, len(items) * ROW_HEIGHT, title)


def interval(low: float, high: float, point: float, limit: float, title: str) -> str:
    """A point with its interval on a line, zero and ``limit`` marked: left of the limit is good.

    Raises nothing: values are drawn in the order that they have, however far apart.
    """
    first, last = min(low, point, 0.0), max(high, point, limit)
    span = (last - first) or 1.0
    first, span = first - 0.08 * span, 1.16 * span

    def place(value: float) -> float:
        return 10 + (value - first) / span * (WIDTH - 20)

    parts = [f'<line class="axis" x1="10" y1="34" x2="{WIDTH - 10}" y2="34"/>']
    for value, name in ((0.0, "0"), (limit, f"limit {limit:g}")):
        x = place(value)
        parts += [
            f'<line class="mark" x1="{x:.1f}" y1="20" x2="{x:.1f}" y2="48"/>',
            text(x, 62, name, anchor="middle"),
        ]
    parts += [
        f'<line class="interval" x1="{place(low):.1f}" y1="34" x2="{place(high):.1f}" y2="34"/>',
        f'<circle class="point" cx="{place(point):.1f}" cy="34" r="5"/>',
        text(place(point), 14, f"{point:.4g}", anchor="middle"),
    ]
    return picture(parts, WIDTH, 68, title)


def distribution(curves: Sequence[tuple[str, Curve]], title: str, unit: str = "ms", *, width: int = WIDTH) -> str:
    """Distribution functions: values to the right on a logarithmic axis, the share that is worse downwards likewise.

    >>> distribution([("a", [(1.0, 0.5), (2.0, 1.0)])], "latency").count("<polyline")
    1
    """
    values = [value for _, curve in curves for value, _ in curve if value > 0]
    if not values:
        return picture([text(10, 20, "nothing was answered")], width, 30, title)
    low, high = log10(min(values)), log10(max(values))
    span = (high - low) or 1.0
    left, right, top, bottom = 56.0, width - 20.0, 10.0, 230.0

    def across(value: float) -> float:
        return left + (log10(value) - low) / span * (right - left)

    def down(share: float) -> float:
        return bottom - min(-log10(max(1 - share, 1e-4)), 4.0) / 4.0 * (bottom - top)

    parts = []
    for share, name in ((0.0, "0"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")):
        y = down(share)
        parts.append(f'<line class="grid" x1="{left:.0f}" y1="{y:.1f}" x2="{right:.0f}" y2="{y:.1f}"/>')
        parts.append(text(left - 6, y + 4, name, anchor="end"))
    marks = log_ticks(10**low, 10**high, most=int((right - left) // 50))
    for value in marks:
        parts.append(f'<line class="grid" x1="{across(value):.1f}" y1="{bottom}" x2="{across(value):.1f}" y2="{top}"/>')
        name = f"{value:g}" if value < marks[-1] else f"{value:g} {unit}".rstrip()
        parts.append(text(across(value), bottom + 18, name, anchor="middle"))
    for number, (name, curve) in enumerate(curves):
        shown = [(value, share) for value, share in curve if value > 0]
        # Nothing lies below the first value; of requests that all took as long, that is the whole line.
        points = [(shown[0][0], 0.0), *shown] if shown else []
        line = " ".join(f"{across(value):.1f},{down(share):.1f}" for value, share in points)
        colour = f"curve-{number % _CURVE_COLOURS}"
        y = bottom + 40 + number * 18
        parts += [
            f'<polyline class="curve {colour}" points="{line}"/>',
            f'<line class="curve {colour}" x1="{left:.0f}" y1="{y:.0f}" x2="{left + 24:.0f}" y2="{y:.0f}"/>',
            text(left + 32, y + 4, name),
        ]
    return picture(parts, width, int(bottom + 46 + len(curves) * 18), title)


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high`` for a logarithmic axis, no more than ``most`` of them; else the ends.

    >>> log_ticks(0.0117, 2.0), log_ticks(1.0, 2e5), log_ticks(3.1, 3.3)
    ([0.03, 0.1, 0.3, 1.0], [1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0], [3.1, 3.3])
    """
    powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
    for factors, step in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 5), ((1,), 10)):
        found = [float(f"{factor}e{power}") for power in powers if power % step == 0 for factor in factors]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= most:
            break
    if len(found) >= 2:
        return found
    return sorted({float(f"{value:.3g}") for value in (low, high)})


@dataclass(frozen=True, slots=True)
class Spot:
    """A named place in a plane; ``is_marked`` ones are drawn full, others hollow."""

    name: str
    x: float
    y: float
    is_marked: bool = False


def plane(spots: Sequence[Spot], title: str, *, x: str, y: str, limit: float | None = None) -> str:
    """Points in two linear axes called ``x`` and ``y``, each with its name; a horizontal line at ``limit``.

    >>> plane([Spot("a", 1, 2), Spot("b", 2, 1)], "sizes", x="size", y="drop").count("<circle")
    2
    """
    left, right, top, bottom = 56.0, WIDTH - 110.0, 24.0, 250.0
    first, last = _spread([spot.x for spot in spots])
    low, high = _spread([*(spot.y for spot in spots), *([] if limit is None else [limit])], floor=0.0)

    def place(spot: Spot) -> tuple[float, float]:
        down = (spot.y - low) / (high - low) * (bottom - top)
        return left + (spot.x - first) / (last - first) * (right - left), bottom - down

    parts = [text(left, 12, y), text(right, bottom + 34, x, anchor="end")]
    for share in (0.0, 0.5, 1.0):
        height, across = bottom - share * (bottom - top), left + share * (right - left)
        parts += [
            f'<line class="grid" x1="{left:.0f}" y1="{height:.1f}" x2="{right:.0f}" y2="{height:.1f}"/>',
            text(left - 6, height + 4, f"{low + share * (high - low):.2g}", anchor="end"),
            text(across, bottom + 18, f"{first + share * (last - first):.3g}", anchor="middle"),
        ]
    if limit is not None:
        height = place(Spot("", first, limit))[1]
        parts.append(f'<line class="mark" x1="{left:.0f}" y1="{height:.1f}" x2="{right:.0f}" y2="{height:.1f}"/>')
        parts.append(text(right + 6, height + 4, f"limit {limit:g}"))
    taken: list[tuple[float, float]] = []
    for spot in spots:
        across, height = place(spot)
        kind = "spot marked" if spot.is_marked else "spot"
        parts.append(f'<circle class="{kind}" cx="{across:.1f}" cy="{height:.1f}" r="5"/>')
        while any(abs(height - other) < 14 and abs(across - there) < 90 for there, other in taken):
            height -= 14
        taken.append((across, height))
        parts.append(text(across + 9, height - 4, spot.name))
    return picture(parts, WIDTH, int(bottom + 42), title)


def _spread(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """The ends of an axis that holds ``values`` with some room around them; from ``floor`` where none is below."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.08 * ((high - low) or abs(high) or 1.0)
    return floor if floor is not None and low >= floor else low - room, high + room
