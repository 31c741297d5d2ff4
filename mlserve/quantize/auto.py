"""``--to auto``: every method that may suit the model is tried, and mixed precision where the fastest loses too much.

census ── candidates ──► each made, saved, measured ──► is there one that gains more and fell too far?
                                                             │ yes
            rank layers on rows of their own (sensitivity) ◄─┘
                             │
            bisect the ladder on those rows ──► made, saved, measured on the evaluation rows ──► best of all
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlserve.errors import Unsupported
from mlserve.quantize.attempting import Attempt, Job, attempt
from mlserve.quantize.candidates import Candidates
from mlserve.quantize.methods import QUANTIZERS
from mlserve.quantize.mixing import RUNGS, Mixed, mix
from mlserve.quantize.pareto import best, front
from mlserve.quantize.quantizer import CalibratingQuantizer, Quantizer
from mlserve.quantize.sensitivity import Sensitivities
from mlserve.quantize.tuning import Tuning


class Budget:
    """Seconds to spend, by ``clock``; ``longest_s`` is what the longest attempt so far took."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self.longest_s = 0.0
        self._clock = clock
        self._begun_s = clock()

    @property
    def spent_s(self) -> float:
        return self._clock() - self._begun_s

    def has(self, share: float = 1.0, reserve_s: float = 0.0) -> bool:
        """Whether less than ``share`` of the seconds, and no more than all but ``reserve_s``, is spent."""
        return self.spent_s < self.seconds * share and self.spent_s + reserve_s < self.seconds

    def timed(self, work: Callable[[], Attempt]) -> Attempt:
        begun_s = self.spent_s
        done = work()
        self.longest_s = max(self.longest_s, self.spent_s - begun_s)
        return done


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried. ``best`` is None where none passed; ``closest`` is then what missed by the least."""

    attempts: tuple[Attempt, ...]
    best: Attempt | None
    sensitivities: Sensitivities | None
    steps: tuple[tuple[int, float], ...]
    spent_s: float
    budget_s: float
    notes: tuple[str, ...] = field(default=())

    @property
    def closest(self) -> Attempt | None:
        """The one that passed; else the one with the fewest reasons against it, then the least fall."""
        if self.best is not None or not self.attempts:
            return self.best
        return min(self.attempts, key=lambda tried: (len(tried.reasons), tried.standing.drop or 0.0))

    def to_dict(self) -> dict[str, Any]:
        on_front = set(front([tried.standing for tried in self.attempts]))
        return {
            "candidates": [tried.to_dict() | {"is_on_front": tried.method in on_front} for tried in self.attempts],
            "search": {
                "spent_s": round(self.spent_s, 3),
                "budget_s": self.budget_s,
                "ranked_on_rows": None if self.sensitivities is None else self.sensitivities.rows,
                "sensitivities": [] if self.sensitivities is None else self.sensitivities.to_list(),
                "steps": [{"step": step, "drop": drop} for step, drop in self.steps],
            },
        }


def search(
    job: Job, found: Candidates, tuning: Tuning | None, folder: Path, budget: Budget, objections: tuple[str, ...] = ()
) -> Search:
    """Try ``found`` and, where that may gain more, mixed precision; the first candidate is tried whatever it takes.

    ``tuning`` are the rows to rank layers on, None where there are none to spare. Files are made in ``folder``.
    """
    attempts: list[Attempt] = []
    notes = list(found.left_out)
    _attempt_each(job, found.methods, folder, budget, objections, attempts, notes)
    mixed = Mixed()
    if (start := _worth_mixing(attempts)) is not None:
        mixed = mix(job, start, tuning, folder, budget)
        attempts += mixed.attempts
        notes += mixed.notes
    _attempt_each(job, found.late, folder, budget, objections, attempts, notes)
    name = best([tried.standing for tried in attempts])
    winner = next((tried for tried in attempts if tried.method == name), None)
    return Search(
        tuple(attempts), winner, mixed.sensitivities, mixed.steps, budget.spent_s, budget.seconds, tuple(notes)
    )


def _attempt_each(
    job: Job,
    methods: Sequence[str],
    folder: Path,
    budget: Budget,
    objections: tuple[str, ...],
    attempts: list[Attempt],
    notes: list[str],
) -> None:
    """Add to ``attempts`` what there is time for, and to ``notes`` what there is not."""
    for method in methods:
        if attempts and not budget.has(reserve_s=budget.longest_s):
            notes.append(f"{method} was not tried: the budget of {budget.seconds:g} s was spent")
            continue
        try:
            attempts.append(budget.timed(partial(_try_method, job, method, folder, objections)))
        except Unsupported as error:
            notes.append(f"{method} cannot be made of this model: {error.message}")


def _try_method(job: Job, method: str, folder: Path, objections: tuple[str, ...]) -> Attempt:
    quantizer: Quantizer = QUANTIZERS[method]()
    if isinstance(quantizer, CalibratingQuantizer) and job.sample is not None:
        quantizer = quantizer.calibrated_on(job.sample)
    path = folder / method / job.name
    path.parent.mkdir()
    return attempt(job, method, lambda workshop: quantizer.quantize(job.model, workshop, job.target), path, objections)


def _worth_mixing(attempts: list[Attempt]) -> Attempt | None:
    """The attempt that gains the most, if it is in INT8, and refused for nothing but its metric."""
    passed = [tried.standing.gain for tried in attempts if not tried.reasons]
    failed = [tried for tried in attempts if tried.misses_only_metric and tried.method in RUNGS]
    start = max(failed, key=lambda tried: tried.standing.gain, default=None)
    return start if start is not None and start.standing.gain > max(passed, default=0.0) else None
