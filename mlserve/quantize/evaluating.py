"""How good two models are on the same rows: a metric before and after, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.compare.quality import drop_of, evaluate, metric_named
from mlserve.errors import InvalidInput, Unsupported
from mlserve.quantize.gate import Metric
from mlserve.rows.reading import RowBatch

Arrays = Mapping[str, np.ndarray[Any, Any]]
Outputs = dict[str, np.ndarray[Any, Any]]

MAX_DRAWS = 1000
MIN_DRAWS = 100
DRAWN_VALUES = 20_000_000
"""Output values that the bootstrap looks at in all, so that large evaluation sets take seconds."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Both models' outputs over the same rows, and the rows' labels where the data has any."""

    before: Outputs
    after: Outputs
    labels: np.ndarray[Any, Any] | None
    rows: int

    @property
    def is_finite(self) -> bool:
        """Whether no value that was finite before is NaN or infinite after."""
        return all(
            bool(np.isfinite(self.after[name][np.isfinite(output)]).all())
            for name, output in self.before.items()
            if output.dtype.kind == "f" and self.after[name].shape == output.shape
        )


def answer(
    before: Callable[[Arrays], Outputs], after: Callable[[Arrays], Outputs], batches: Iterator[RowBatch]
) -> Answers:
    """Run both models on every batch. Raises InvalidInput for data without rows, Unsupported for ragged outputs."""
    outputs: tuple[list[Outputs], list[Outputs]] = ([], [])
    labels, rows = [], 0
    for batch in batches:
        outputs[0].append(before(batch.inputs))
        outputs[1].append(after(batch.inputs))
        labels.append(batch.roles.get("label"))
        rows += batch.rows
    if not rows:
        raise InvalidInput("the evaluation data has no rows")
    known = [part for part in labels if part is not None]
    return Answers(_joined(outputs[0]), _joined(outputs[1]), np.concatenate(known) if known else None, rows)


def measure_metric(name: str, answers: Answers, *, seed: int) -> Metric:
    """Metric ``name`` before and after over the rows of ``answers``, its drop with a 95 % bootstrap interval.

    A metric that compares two models (``agreement``, ``cosine``) takes the original's outputs as the truth, also for
    the original. Raises UsageError for an unknown metric, InvalidInput without the labels that it needs, Unsupported.
    """
    everything = np.arange(answers.rows)
    before, after = _values(name, answers, everything)
    if np.isnan(before):
        raise InvalidInput(
            f"the original's {name} is NaN on the evaluation data", hint="leave out the rows that it answers with NaN"
        )
    metric = metric_named(name)
    drops = []
    rng = np.random.default_rng(seed)
    for _ in range(_draws(answers)):
        try:
            drawn = _values(name, answers, rng.integers(0, answers.rows, answers.rows))
        except InvalidInput:  # a draw without one of the classes says nothing
            continue
        drops.append(drop_of(metric, *drawn))
    drop = drop_of(metric, before, after)
    low, high = np.quantile(drops, (0.025, 0.975)) if drops else (drop, drop)
    return Metric(name, before, after, drop, (float(low), float(high)), answers.rows)


def _values(name: str, answers: Answers, index: np.ndarray[Any, Any]) -> tuple[float, float]:
    before, after = _rows(answers.before, index, answers.rows), _rows(answers.after, index, answers.rows)
    labels = None if answers.labels is None else answers.labels[index]
    return evaluate(name, before, before, labels), evaluate(name, after, before, labels)


def _rows(outputs: Outputs, index: np.ndarray[Any, Any], rows: int) -> Outputs:
    return {name: output[index] if output.ndim and len(output) == rows else output for name, output in outputs.items()}


def _draws(answers: Answers) -> int:
    values = sum(output.size for output in answers.before.values())
    return int(np.clip(DRAWN_VALUES // max(values, 1), MIN_DRAWS, MAX_DRAWS))


def _joined(parts: list[Outputs]) -> Outputs:
    try:
        return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}
    except ValueError as error:
        raise Unsupported(
            "the model's outputs differ in shape from row to row, so no metric can be taken over all rows",
            hint="--evaluate with rows of equal length",
        ) from error
