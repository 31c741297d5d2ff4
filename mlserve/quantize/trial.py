"""Both models side by side: on their target, on the same rows, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.compare.distances import row_errors
from mlserve.core.progress import Progress
from mlserve.errors import InvalidInput, Unavailable, Unsupported, UsageError
from mlserve.quantize.calibration import RowSource
from mlserve.quantize.evaluating import Answers, Arrays, Outputs, answer, measure_metric
from mlserve.quantize.gate import Metric
from mlserve.quantize.measuring import Latency, measure_latency, overall_speedup
from mlserve.quantize.quantizer import Target
from mlserve.rows.reading import RowBatch
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs

LATENCY_ROWS = (1, 32)
LATENCY_BUDGET_S = 1.0
"""Measuring time for each batch size, both models together."""

EVALUATION_ROWS = 256
SEED = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured. ``is_on_target`` is False where the target is not here and the CPU stood in for it.

    ``row_errors`` are how far each row moved, (rows,), None without rows.
    """

    metric: Metric | None
    latency: tuple[Latency, ...]
    is_finite: bool
    is_on_target: bool
    notes: tuple[str, ...] = ()
    row_errors: np.ndarray[Any, Any] | None = None

    @property
    def speedup(self) -> float:
        return overall_speedup(self.latency) or 1.0


class Memory:
    """What the original answered to each batch, so that several files are compared with it at the price of one.

    All must be asked about the same rows in the same order.
    """

    def __init__(self) -> None:
        self._held: list[Outputs] = []

    def recalling(self, run: Callable[[Arrays], Outputs]) -> Callable[[Arrays], Outputs]:
        """``run`` for one pass over the rows: batches that were answered in an earlier pass are not run again."""
        place = count()

        def recall(inputs: Arrays) -> Outputs:
            at = next(place)
            if at == len(self._held):
                self._held.append(run(inputs))
            return self._held[at]

        return recall


def try_both(
    before: Path,
    after: Path,
    target: Target,
    rows: RowSource | None,
    metric: str,
    progress: Progress,
    memory: Memory | None = None,
) -> Found:
    """Load both files and measure them: ``metric`` on ``rows`` where there are any, speed on those or made-up rows.

    Raises UsageError where there are no rows and the original refuses made-up ones, InvalidInput, Unsupported.
    """
    device: Target = target if _is_here(before, target) else "cpu"
    notes = [] if device == target else [f"{target} is not available here: speed is the CPU's, and is not judged"]
    with closing(load_model(before, device=device)) as old, closing(_load_made(after, device)) as new:
        if rows is None:
            notes.append("the metric was not measured: give --evaluate DATA with rows it was not trained on")
            some: Arrays = synthetic_inputs(old.signature, max(LATENCY_ROWS), SEED)
            found, answers, errors = None, _try(old, new, some), None
        else:
            progress("evaluate", 0, rows.total_rows)
            known = old.run if memory is None else memory.recalling(old.run)
            answers = answer(known, new.run, _counted(rows, progress))
            found = measure_metric(metric, answers, seed=SEED)
            errors = row_errors(answers.before, answers.after)
            some = next(rows.batches(max(LATENCY_ROWS))).inputs
        latency = _latencies(old, new, some, progress)
    return Found(found, latency, answers.is_finite, device == target, tuple(notes), errors)


def _load_made(path: Path, device: Target) -> OnnxModel:
    try:
        return load_model(path, device=device, label="the quantized graph")
    except InvalidInput as error:
        raise Unsupported(f"the method does not suit this model: {error.message}") from error


def _is_here(path: Path, target: Target) -> bool:
    try:
        load_model(path, device=target).close()
    except Unavailable:
        return False
    return True


def _try(before: OnnxModel, after: OnnxModel, made_up: Arrays) -> Answers:
    try:
        before.run(made_up)
    except InvalidInput as error:
        raise UsageError(
            "the model refuses made-up inputs, so nothing can be measured without data", hint="--evaluate DATA"
        ) from error
    return answer(before.run, after.run, iter([RowBatch(0, dict(made_up), {})]))


def _counted(rows: RowSource, progress: Progress) -> Iterator[RowBatch]:
    for batch in rows.batches(EVALUATION_ROWS):
        yield batch
        progress("evaluate", batch.start + batch.rows, rows.total_rows)


def _latencies(before: OnnxModel, after: OnnxModel, some: Arrays, progress: Progress) -> tuple[Latency, ...]:
    """At each batch size that the model takes; models of a fixed shape are measured at that."""
    is_fixed = any(not spec.dims or isinstance(spec.dims[0], int) for spec in before.signature.inputs)
    held = max((len(array) for array in some.values() if array.ndim), default=1)
    found = []
    for number, rows in enumerate((held,) if is_fixed else LATENCY_ROWS):
        progress("measure", number, len(LATENCY_ROWS))
        index = [row % held for row in range(rows)]
        inputs = some if is_fixed else {name: array[index] for name, array in some.items()}
        found.append(
            measure_latency(
                before.run, after.run, inputs, rows=rows, clock=time.perf_counter, budget_s=LATENCY_BUDGET_S
            )
        )
    return tuple(found)
