"""A plan of loads, done: every point in turn within each repeat, so that what else happens falls on all alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlserve.bench.arrivals import Arrivals, Offsets, arrivals
from mlserve.bench.outcomes import Outcome
from mlserve.bench.runs import Point, Run, run_of
from mlserve.bench.stretches import Driver, Stretch
from mlserve.core.progress import Progress, silent
from mlserve.core.slo import Slo

CEILING_S = 0.5
CLOSED_DRAIN_S = 30.0
"""No more than one request a client is under way at the end: a slow model may take its time for it."""
OPEN_DRAIN_S = 10.0
"""Behind an overloaded server any number of requests may wait; those that wait longer than this are unanswered."""
_SETTLE_S = 0.2
"""What a repeat after the first has to warm up: only its connections are new."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``duration_s`` is what each point is measured for, all ``repeats`` together; ``rows`` are those of a request."""

    points: Sequence[Point]
    duration_s: float
    warmup_s: float
    repeats: int
    rows: int = 1
    arrivals: Arrivals = "poisson"
    slo: Slo | None = None
    price_per_hour: float | None = None
    seed: int = 0


def measure(driver: Driver, plan: Plan, progress: Progress = silent) -> list[Run]:
    """One run a point, in the order of the plan. Raises Unavailable if nobody answers."""
    steps = _Steps(plan, progress)
    parts: list[list[Outcome]] = [[] for _ in plan.points]
    for repeat in range(plan.repeats):
        for number, point in enumerate(plan.points):
            steps.begin(f"load: {point}")
            warmup_s = plan.warmup_s if repeat == 0 else min(plan.warmup_s, _SETTLE_S)
            stretch = Stretch(
                point.concurrency,
                plan.duration_s / plan.repeats,
                warmup_s,
                _due(plan, point, warmup_s, [plan.seed, repeat, number]),
                drain_s=CLOSED_DRAIN_S if point.rate is None else OPEN_DRAIN_S,
            )
            parts[number].append(driver.run(stretch, steps.turn))
    ceilings: dict[int, float | None] = {}
    for concurrency in dict.fromkeys(point.concurrency for point in plan.points):
        steps.begin("the generator's own ceiling")
        ceiling = driver.ceiling(Stretch(concurrency, min(CEILING_S, plan.duration_s), _SETTLE_S))
        ceilings[concurrency] = None if ceiling is None else ceiling.rps
    return [
        run_of(
            point,
            found,
            rows=plan.rows,
            slo=plan.slo,
            price_per_hour=plan.price_per_hour,
            ceiling_rps=ceilings[point.concurrency],
        )
        for point, found in zip(plan.points, parts, strict=True)
    ]


def _due(plan: Plan, point: Point, warmup_s: float, seed: list[int]) -> Offsets | None:
    if point.rate is None:
        return None
    whole_s = warmup_s + plan.duration_s / plan.repeats
    return arrivals(plan.arrivals, point.rate, whole_s, np.random.default_rng(seed))


class _Steps:
    """Tells ``progress`` of each stretch, and keeps it alive within one."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._total = plan.repeats * len(plan.points) + len({point.concurrency for point in plan.points})
        self._progress = progress
        self._done = -1
        self._name = ""

    def begin(self, name: str) -> None:
        self._name = name
        self._done += 1
        self.turn()

    def turn(self) -> None:
        self._progress(self._name, self._done, self._total)
