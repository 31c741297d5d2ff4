"""How good two models are on the same rows: a metric before and after, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.compare.quality import Against, drop_of, measured_against, metric_named
from mlserve.compare.quality import Metric as Quality
from mlserve.errors import InvalidInput, Unsupported
from mlserve.quantize.gate import Metric
from mlserve.rows.reading import RowBatch

Arrays = Mapping[str, np.ndarray[Any, Any]]
Outputs = dict[str, np.ndarray[Any, Any]]
Draw = Callable[[np.random.Generator], tuple[float, float]]
"""A metric before and after, over rows (or groups) drawn with replacement."""

MAX_DRAWS = 1000
MIN_DRAWS = 100
DRAWN_VALUES = 20_000_000
"""Output values that the bootstrap looks at in all, so that large evaluation sets take seconds."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Both models' outputs over the same rows, and the rows' labels and groups where the data has any."""

    before: Outputs
    after: Outputs
    labels: np.ndarray[Any, Any] | None
    rows: int
    groups: np.ndarray[Any, Any] | None = None

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
    labels, groups, rows = [], [], 0
    for batch in batches:
        outputs[0].append(before(batch.inputs))
        outputs[1].append(after(batch.inputs))
        labels.append(batch.roles.get("label"))
        groups.append(batch.roles.get("group"))
        rows += batch.rows
    if not rows:
        raise InvalidInput("the evaluation data has no rows")
    return Answers(_joined(outputs[0]), _joined(outputs[1]), _column(labels), rows, _column(groups))


def measure_metric(name: str, answers: Answers, *, seed: int) -> Metric:
    """Metric ``name`` before and after over the rows of ``answers``, its drop with a 95 % bootstrap interval.

    A metric that compares two models (``agreement``, ``cosine``) takes the original's outputs as the truth, also for
    the original. Raises UsageError for an unknown metric, InvalidInput without the labels that it needs, Unsupported.
    """
    metric = metric_named(name)
    before, after, draw = _by_units(metric, answers) if metric.units else _by_rows(metric, answers)
    if np.isnan(before):
        raise InvalidInput(
            f"the original's {name} is NaN on the evaluation data", hint="leave out the rows that it answers with NaN"
        )
    drop = drop_of(metric, before, after)
    return Metric(name, before, after, drop, _interval(metric, draw, answers, seed), answers.rows)


def _interval(metric: Quality, draw: Draw, answers: Answers, seed: int) -> tuple[float, float]:
    """95 % of the drops that draws of rows give; NaN where no draw says anything."""
    rng = np.random.default_rng(seed)
    drops = []
    for _ in range(MIN_DRAWS if metric.is_custom else _draws(answers)):
        try:
            drops.append(drop_of(metric, *draw(rng)))
        except InvalidInput:  # a draw without one of the classes says nothing
            continue
    if not drops:
        return float("nan"), float("nan")
    low, high = (float(bound) for bound in np.quantile(drops, (0.025, 0.975)))
    if not metric.is_share:
        return low, high
    # Draws from rows that all went well show no mistake, which is no proof that there is none: with a chance of p each,
    # all of n rows go well with (1 - p)^n.
    unseen = 1 - 0.025 ** (1 / answers.rows)
    return low if low < high else low - unseen * (metric.needs == "labels"), max(high, unseen)


def _by_rows(metric: Quality, answers: Answers) -> tuple[float, float, Draw]:
    """The metric before and after, and both over rows drawn with replacement."""

    def values(index: np.ndarray[Any, Any]) -> tuple[float, float]:
        before, after = (_rows(side, index, answers.rows) for side in (answers.before, answers.after))
        labels, groups = (None if column is None else column[index] for column in (answers.labels, answers.groups))
        against = measured_against(metric, Against(before, labels, groups))
        return float(metric.measure(before, against)), float(metric.measure(after, against))

    before, after = values(np.arange(answers.rows))
    return before, after, lambda rng: values(rng.integers(0, answers.rows, answers.rows))


def _by_units(metric: Quality, answers: Answers) -> tuple[float, float, Draw]:
    """As ``_by_rows``, drawing what the metric is the mean of: groups are drawn whole, neighbours found once."""
    assert metric.units is not None
    against = measured_against(metric, Against(answers.before, answers.labels, answers.groups))
    units = np.stack([metric.units(side, against) for side in (answers.before, answers.after)])

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        before, after = units[:, rng.integers(0, units.shape[1], units.shape[1])].mean(axis=1)
        return float(before), float(after)

    before, after = units.mean(axis=1)
    return float(before), float(after), draw


def _rows(outputs: Outputs, index: np.ndarray[Any, Any], rows: int) -> Outputs:
    return {name: output[index] if output.ndim and len(output) == rows else output for name, output in outputs.items()}


def _draws(answers: Answers) -> int:
    values = sum(output.size for output in answers.before.values())
    return int(np.clip(DRAWN_VALUES // max(values, 1), MIN_DRAWS, MAX_DRAWS))


def _column(parts: list[Any]) -> np.ndarray[Any, Any] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _joined(parts: list[Outputs]) -> Outputs:
    try:
        return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}
    except ValueError as error:
        raise Unsupported(
            "the model's outputs differ in shape from row to row, so no metric can be taken over all rows",
            hint="--evaluate with rows of equal length",
        ) from error
