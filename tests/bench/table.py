"""The table of ``make bench``: what is demanded of each ratio, what was measured, and whether that is enough. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlserve.bench.intervals import median_interval


class NotAvailable(Exception):
    """A row cannot be measured here, and why."""


@dataclass(frozen=True)
class Demand:
    """What a ratio must reach, or with ``at_most`` must not exceed; ``value`` None is for information only.

    With ``is_whole`` all of its interval must, where else one end of it is enough.
    """

    value: float | None
    at_most: bool = False
    is_whole: bool = False

    def __str__(self) -> str:
        return "–" if self.value is None else f"{'≤' if self.at_most else '≥'} {self.value:g}"


@dataclass
class Line:
    """One row of the table: ``ratios`` are of interleaved pairs; ``reason`` says why there are none.

    ``ours`` and ``theirs`` are the medians of what the ratio is of, in ``unit``.
    """

    work: str
    against: str
    demand: Demand
    unit: str = ""
    ratios: list[float] = field(default_factory=list)
    ours: float | None = None
    theirs: float | None = None
    errors: int = 0
    note: str = ""
    reason: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        return median_interval(self.ratios)

    @property
    def verdict(self) -> str:
        """A row passes when the end of its interval on the demand's side (or the other too) reaches the demand, and
        nothing failed."""
        if not self.ratios:
            return "not available"
        if self.errors:
            return "errors"
        if self.demand.value is None:
            return "–"
        low, high = self.interval
        if self.demand.is_whole:
            low, high = high, low
        reached = low <= self.demand.value if self.demand.at_most else high >= self.demand.value
        return "passed" if reached else "missed"

    def to_dict(self) -> dict[str, Any]:
        measured = {"median": self.median, "interval": list(self.interval)} if self.ratios else {}
        return asdict(self) | measured | {"verdict": self.verdict}


def line_of(fields: Mapping[str, Any]) -> Line:
    """The inverse of ``Line.to_dict``."""
    known = {name: fields[name] for name in Line.__dataclass_fields__}
    return Line(**known | {"demand": Demand(**fields["demand"])})


HEADINGS = ("work", "against", "ours", "theirs", "ratio", "interval", "demanded", "verdict")


def cells(line: Line) -> list[str]:
    """One line of the table, as text."""
    if not line.ratios:
        return [line.work, line.against, "", "", "", "", str(line.demand), f"not available: {line.reason}"]
    low, high = line.interval
    measured = [f"{line.median:.3g}", f"{low:.3g} – {high:.3g}", str(line.demand), line.verdict]
    return [line.work, line.against, _figure(line.ours, line.unit), _figure(line.theirs, line.unit), *measured]


def as_text(lines: Sequence[Line]) -> str:
    """The whole table, aligned."""
    return _aligned([list(HEADINGS), *(cells(line) for line in lines)])


def as_markdown(lines: Sequence[Line]) -> str:
    """The whole table for a document."""
    rows = ["| " + " | ".join(cells(line)) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS), *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    shown = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()
