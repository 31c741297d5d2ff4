"""Mixed precision, guided by what each layer does to the answers: the least climb that keeps the metric."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.quantize.applying import Workbench, prepared_graph
from mlserve.quantize.attempting import Attempt, Job, attempt
from mlserve.quantize.int8_dynamic import ROWS_ARE_BOUND
from mlserve.quantize.ladder import Ladder, climb, rank
from mlserve.quantize.layers import Kind
from mlserve.quantize.preparing import quiet, tools_errors
from mlserve.quantize.quantizer import Quantized
from mlserve.quantize.sensitivity import Bench, Outputs, Sensitivities, answers, measure_sensitivities
from mlserve.quantize.static_bench import StaticBench
from mlserve.quantize.tuning import Tuning

if TYPE_CHECKING:
    from mlserve.quantize.auto import Budget

RUNGS = {Kind.INT8_DYNAMIC: (Kind.W8, Kind.FP32), Kind.INT8: (Kind.FP32,)}
RANKING_SHARE = 0.7
"""Of the budget: by then ranking ends, so that there is time to climb and to measure."""

MAX_LOOKS = 3
"""How often a mixture may be put to the evaluation rows: each look at them makes the verdict a little kinder."""

MARGIN = 0.9
"""Of the bound is what rows of another sample are held to, so that the evaluation rows seldom disagree."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """The mixtures that were measured, the layers' sensitivities, and the drop on tuning rows at each step tried."""

    attempts: tuple[Attempt, ...] = ()
    sensitivities: Sensitivities | None = None
    steps: tuple[tuple[int, float], ...] = ()
    notes: tuple[str, ...] = field(default=())


def mix(job: Job, start: Attempt, tuning: Tuning | None, folder: Path, budget: Budget) -> Mixed:
    """Mixtures between ``start``, whose metric fell too far, and the original, until one keeps it."""
    if tuning is None:
        return Mixed(notes=("mixed precision was not tried: there are too few rows to rank layers on",))
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        bench = _bench(job, start, Path(workshop))
        base = Kind(start.method)
        found = measure_sensitivities(
            bench,
            base,
            tuning.first,
            has_time=lambda: budget.has(RANKING_SHARE, budget.longest_s),
            progress=job.progress,
        )
        notes = [f"layers were chosen on {tuning.rows} rows of the {tuning.origin}, which are not judged on"]
        matrices = [layer for layer in bench.layers if not layer.is_table]
        if missed := len(matrices) - len(found.damage):
            notes.append(f"{missed} of {len(matrices)} layers were not ranked within the budget: the smallest")
        ladder = Ladder(rank(bench.layers, found.damage), base, RUNGS[base])
        climbed = _Climb(job, bench, ladder, tuning, budget)
        return Mixed(tuple(climbed.attempts(folder, notes)), found, tuple(sorted(climbed.drops.items())), tuple(notes))


class _Climb:
    """The search over one ladder; what was measured once is kept in ``drops``."""

    def __init__(self, job: Job, bench: Bench, ladder: Ladder, tuning: Tuning, budget: Budget) -> None:
        self.drops: dict[int, float] = {}
        self._job, self._bench, self._ladder, self._tuning, self._budget = job, bench, ladder, tuning, budget
        self._before: Sequence[Outputs] = answers(bench.model, tuning.batches)

    def attempts(self, folder: Path, notes: list[str]) -> list[Attempt]:
        """Mixtures as measured on the evaluation rows, the last of which passed if any did."""
        made: list[Attempt] = []
        bound, least = MARGIN * self._job.demands.max_drop, 1
        while len(made) < MAX_LOOKS:
            step = climb(len(self._ladder.moves), self._drop, bound, start=least)
            if step is None:
                known = "within the budget " if not self._budget.has(reserve_s=self._budget.longest_s) else ""
                notes.append(f"no mixture was found {known}that keeps {self._job.metric} on the rows ranked on")
                break
            made.append(self._budget.timed(partial(self._attempt, step, folder)))
            if not made[-1].misses_only_metric or not self._budget.has(reserve_s=self._budget.longest_s):
                break
            bound, least = self._tightened(step, made[-1]), step + 1
        return made

    def _drop(self, step: int) -> float | None:
        if step not in self.drops:
            if not self._budget.has(reserve_s=self._budget.longest_s):
                return None
            self._job.progress("climb the ladder", len(self.drops), None)
            after = answers(self._bench.apply(self._ladder.choice(step)), self._tuning.batches)
            self.drops[step] = self._tuning.drop(self._job.metric, self._before, after)
        return self.drops[step]

    def _tightened(self, step: int, tried: Attempt) -> float:
        """The bound on tuning rows that would have kept the evaluation rows' within the demand, by proportion."""
        metric, allowed = tried.found.metric, self._job.demands.max_drop
        fallen = 0.0 if metric is None else metric.interval[1] if self._job.demands.is_confident else metric.drop
        return MARGIN * min(self.drops[step], allowed) * allowed / max(fallen, 1e-12)

    def _attempt(self, step: int, folder: Path) -> Attempt:
        choice = self._ladder.choice(step)
        path = folder / f"mixed-{step}" / self._job.name
        path.parent.mkdir()
        options = {"base": str(self._ladder.base), "rungs": [str(rung) for rung in self._ladder.rungs], "step": step}
        notes = (ROWS_ARE_BOUND,) if Kind.INT8_DYNAMIC in choice.values() else ()
        calibrated = self._bench.calibrated if isinstance(self._bench, StaticBench) else None
        return attempt(
            self._job,
            f"mixed-{step}",
            lambda _: Quantized(self._bench.apply(choice), options, notes, calibrated),
            path,
        )


def _bench(job: Job, start: Attempt, folder: Path) -> Bench:
    if start.method == Kind.INT8 and job.sample is not None:
        return StaticBench(job.model, folder, job.target, job.sample)
    with tools_errors(job.model), quiet():
        return Workbench(prepared_graph(job.model, folder), job.target)
