"""How fast two models are, measured in turns so that whatever else the machine does falls on both."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, Any]]
Run = Callable[[Arrays], object]

WARMUP_RUNS = 1
MIN_ROUNDS = 3
MAX_ROUNDS = 400


@dataclass(frozen=True, slots=True)
class Latency:
    """Median times of one run with ``rows`` rows, in milliseconds, over ``rounds`` turns."""

    rows: int
    before_ms: float
    after_ms: float
    rounds: int

    @property
    def speedup(self) -> float:
        return self.before_ms / self.after_ms

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"speedup": self.speedup}


def measure_latency(
    before: Run, after: Run, inputs: Arrays, *, rows: int, clock: Callable[[], float], budget_s: float
) -> Latency:
    """Run both on ``inputs`` in turns for about ``budget_s``, each first in every other round."""
    for _ in range(WARMUP_RUNS):
        before(inputs)
        after(inputs)
    times: tuple[list[float], list[float]] = ([], [])
    started = clock()
    while len(times[0]) < MIN_ROUNDS or (clock() - started < budget_s and len(times[0]) < MAX_ROUNDS):
        turn = len(times[0]) % 2
        for which in (turn, 1 - turn):
            begun = clock()
            (before, after)[which](inputs)
            times[which].append(clock() - begun)
    medians = [max(statistics.median(taken), 1e-9) * 1e3 for taken in times]
    return Latency(rows, medians[0], medians[1], len(times[0]))


def overall_speedup(latencies: Sequence[Latency]) -> float | None:
    """The geometric mean of the speedups, or None where nothing was measured."""
    if not latencies:
        return None
    return exp(sum(log(latency.speedup) for latency in latencies) / len(latencies))
