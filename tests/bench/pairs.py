"""Measuring in pairs: one and the other in turns, so that what else the machine does falls on both alike."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.servers import Figures
from tests.bench.table import Line, NotAvailable

T = TypeVar("T")
FOLDER = Path("build/bench")


@dataclass
class Bench:
    """How much is measured, and all that was. ``quick`` is for a look whether each row works at all."""

    rounds: int
    seconds: float
    quick: bool = False
    raw: list[dict[str, Any]] = field(default_factory=list)

    def pairs(self, what: str, ours: Callable[[], T], theirs: Callable[[], T]) -> list[tuple[T, T]]:
        """So many rounds of both, each first in every other round."""
        found: list[tuple[T, T]] = []
        for number in range(self.rounds):
            if number % 2:
                second = theirs()
                first = ours()
            else:
                first = ours()
                second = theirs()
            found.append((first, second))
            self.raw.append({"what": what, "round": number, "ours": _plain(first), "theirs": _plain(second)})
            print(
                f"  {what}, pair {number + 1} of {self.rounds}: {_short(first)} against {_short(second)}",
                file=sys.stderr,
            )
        return found

    def best(self, what: str, candidates: Sequence[tuple[str, Callable[[], float]]]) -> str:
        """The name of the candidate with the largest figure, each tried once for a short while."""
        found = {name: measure() for name, measure in candidates}
        self.raw.append({"what": what, "candidates": found})
        name = max(found, key=lambda one: found[one])
        print(f"  {what}: {name} ({', '.join(f'{n} {v:,.0f}' for n, v in found.items())})", file=sys.stderr)
        return name


@dataclass
class Topic:
    """Rows of the table that are measured together. ``measure`` fills ``lines``, or raises NotAvailable."""

    name: str
    lines: list[Line]
    measure: Callable[[Bench, list[Line]], None]

    def run(self, bench: Bench) -> list[Line]:
        print(f"{self.name}:", file=sys.stderr)
        try:
            self.measure(bench, self.lines)
        except NotAvailable as error:
            self._without(str(error))
        except Exception as error:  # one row that breaks must not take the others with it
            self._without(f"{type(error).__name__}: {error}")
        self._save(bench)
        return self.lines

    def _without(self, reason: str) -> None:
        print(f"  not available: {reason}", file=sys.stderr)
        for line in self.lines:
            if not line.ratios:
                line.reason = line.reason or reason

    def _save(self, bench: Bench) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        document = {"lines": [line.to_dict() for line in self.lines], "measured": bench.raw}
        (FOLDER / f"{self.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        bench.raw = []


def fill(line: Line, pairs: Sequence[tuple[Figures, Figures]], figure: Callable[[Figures], float]) -> None:
    """``line`` as the ratios ours / theirs of a figure of these pairs."""
    errors = sum(ours.errors + theirs.errors for ours, theirs in pairs)
    fill_numbers(line, [(figure(ours), figure(theirs)) for ours, theirs in pairs], errors)


def fill_inverse(line: Line, pairs: Sequence[tuple[Figures, Figures]], figure: Callable[[Figures], float]) -> None:
    """``line`` as the ratios theirs / ours: for figures that are better when they are small."""
    fill(line, pairs, figure)
    line.ratios = [_ratio(figure(theirs), figure(ours)) for ours, theirs in pairs]


def fill_numbers(line: Line, pairs: Sequence[tuple[float, float]], errors: int = 0) -> None:
    """``line`` as the ratios of plain numbers. Raises NotAvailable where one side has none."""
    line.ratios = [_ratio(ours, theirs) for ours, theirs in pairs]
    line.ours, line.theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    line.errors = errors


def _ratio(ours: float, theirs: float) -> float:
    if math.isnan(ours) or math.isnan(theirs) or theirs == 0:
        raise NotAvailable("in one of the pairs nothing was answered: more BENCH_SECONDS")
    return ours / theirs


def rps(found: Figures) -> float:
    return found.rps


def p99(found: Figures) -> float:
    return found.p99_ms


def p50(found: Figures) -> float:
    return found.p50_ms


def cpu(found: Figures) -> float:
    return found.cpu_us


def _plain(found: Any) -> Any:
    return found.to_dict() if isinstance(found, Figures) else found


def _short(found: Any) -> str:
    if not isinstance(found, Figures):
        return f"{found:,.4g}" if isinstance(found, float) else str(found)
    errors = f", {found.errors} errors" if found.errors else ""
    return f"{found.rps:,.0f}/s p99 {found.p99_ms:.2f} ms {found.cpu_us:.0f} µs CPU{errors}"
