"""Quality metrics of a model's outputs, against labels or against another model's outputs; numpy only.

agreement, cosine, neighbours   need the other model's outputs
rmse, mae                       need labels, or else the other model's outputs
accuracy, f1, auc, log_loss     need labels
ndcg                            needs labels and groups
module:function                 is the user's own, and gets the labels if there are any (``custom``)

``ndcg@K`` and ``neighbours@K`` look at the first K places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlserve.compare.custom import Function, call, load_function
from mlserve.compare.kinds import as_comparable, kind_of
from mlserve.compare.labels import agreement, deciding_output, decisions
from mlserve.compare.neighbours import neighbours_kept
from mlserve.compare.ranking import ndcg_by_group
from mlserve.core.refs import did_you_mean
from mlserve.errors import InvalidInput, Unsupported, UsageError

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = Mapping[str, Array]
Needs = Literal["outputs", "labels", "labels or outputs", "labels and groups", "nothing"]

NEIGHBOURS = 10
"""How many of them ``neighbours`` looks at, unless it is told."""


@dataclass(frozen=True, slots=True)
class Against:
    """What outputs are measured against: the other model's, the labels, and the groups that rows are ranked in."""

    outputs: Outputs | None = None
    labels: Array | None = None
    groups: Array | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's direction, what it measures against, and the function of (outputs, that).

    ``units`` gives what the metric is the mean of, one value a row or group, where it is best drawn by those.
    ``is_share`` says that it counts decisions, so that a sample without a mistake does not mean that there are none.
    """

    name: str
    needs: Needs
    measure: Callable[[Outputs, Any], float]
    is_higher_better: bool = True
    units: Callable[[Outputs, Any], Array] | None = None
    is_share: bool = False
    is_custom: bool = False


def metric_named(name: str) -> Metric:
    """The metric called ``name``; ``NAME@K`` for those that look at K places; ``module:function`` from where we are.

    Raises UsageError naming the nearest, InvalidInput for a module that cannot be imported.
    """
    if name in METRICS:
        return METRICS[name]
    if ":" in name:
        function, is_higher_better = load_function(name, Path.cwd())
        return Metric(name, "nothing", partial(_custom, name, function), is_higher_better, is_custom=True)
    base, at, places = name.partition("@")
    if at and base in _AT:
        if not places.isascii() or not places.isdigit() or int(places) < 1:
            raise UsageError(f"'{name}' looks at '{places}' places", hint=f"{base}@10 looks at the first ten")
        return _by_unit(name, METRICS[base].needs, _AT[base](int(places)))
    hint = did_you_mean(base, METRICS) or f"there are {', '.join(METRICS)}, and module:function of your own"
    raise UsageError(f"no metric '{name}'", hint=hint)


def evaluate(
    name: str,
    outputs: Outputs,
    expected_outputs: Outputs | None,
    labels: Array | None,
    groups: Array | None = None,
) -> float:
    """Metric ``name`` of ``outputs``; ``labels``, ``groups`` and ``expected_outputs`` are of the same rows in order.

    Raises UsageError for an unknown metric; InvalidInput where what it needs is None, has other rows, or there are no
    rows; Unsupported where the outputs cannot be judged by it.

    >>> evaluate("rmse", {"y": np.array([1.0, 2.0])}, None, np.array([1.0, 4.0])) == 2**0.5
    True
    """
    metric = metric_named(name)
    return float(metric.measure(outputs, measured_against(metric, Against(expected_outputs, labels, groups))))


def measured_against(metric: Metric, against: Against) -> Any:
    """The part of ``against`` that ``metric`` takes. Raises InvalidInput where it is not there."""
    has = {
        "outputs": against.outputs is not None,
        "labels": against.labels is not None,
        "labels or outputs": against.labels is not None or against.outputs is not None,
        "labels and groups": against.labels is not None and against.groups is not None,
        "nothing": True,
    }
    if not has[metric.needs]:
        raise InvalidInput(f"metric '{metric.name}' needs {metric.needs} to measure against", hint=_HINTS[metric.needs])
    match metric.needs:
        case "outputs":
            return against.outputs
        case "labels and groups":
            return against
        case "nothing":
            return against.labels
        case _:
            return against.outputs if against.labels is None else np.asarray(against.labels)


def drop_of(metric: Metric, before: float, after: float) -> float:
    """By how much ``after`` is worse than ``before``, in the metric's units; negative where it is better.

    >>> drop_of(METRICS["rmse"], 1.0, 1.5)
    0.5
    """
    return before - after if metric.is_higher_better else after - before


def _agreement(outputs: Outputs, expected: Outputs) -> float:
    return agreement(expected, outputs).share


def _accuracy(outputs: Outputs, labels: Array) -> float:
    decided, truth = _decided(outputs, labels)
    return float((decided == truth).mean())


def _f1(outputs: Outputs, labels: Array) -> float:
    """The mean over classes of 2 TP / (2 TP + FP + FN), each class weighing the same (macro)."""
    decided, truth = _decided(outputs, labels)
    scores = []
    for one in set(truth.tolist()) | set(decided.tolist()):
        hits = int(((decided == one) & (truth == one)).sum())
        scores.append(2 * hits / (int((decided == one).sum()) + int((truth == one).sum())))
    return float(np.mean(scores))


def _auc(outputs: Outputs, labels: Array) -> float:
    """The chance that a positive row scores above a negative one, ties counting half (Mann-Whitney U)."""
    name, scores = _scores(outputs)
    if scores.ndim == 2 and scores.shape[1] > 2:
        raise Unsupported(f"auc is of two classes, output '{name}' has {scores.shape[1]}", hint="--metric accuracy")
    positive = _like(labels, scores.shape[0], "auc") == 1
    ranks = _mean_ranks(scores[:, -1] if scores.ndim == 2 else scores)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise InvalidInput("auc needs rows of both classes, labelled 1 and 0")
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _log_loss(outputs: Outputs, labels: Array) -> float:
    """Mean of -log of the probability given to the true class, in nats; probabilities below 1e-15 count as that."""
    name, scores = _scores(outputs)
    if scores.ndim == 1 or scores.shape[1] == 1:
        flat = scores.reshape(-1)
        scores = np.stack([1 - flat, flat], axis=1)
    truth = _like(labels, scores.shape[0], "log_loss")
    if kind_of(truth.dtype) == "text" or not ((truth >= 0) & (truth < scores.shape[1]) & (truth == truth // 1)).all():
        raise InvalidInput(f"log_loss needs labels 0 to {scores.shape[1] - 1}, the columns of output '{name}'")
    given = scores[np.arange(len(truth)), truth.astype(np.int64)]
    return float(-np.log(np.clip(given, 1e-15, 1.0)).mean())


def _rmse(outputs: Outputs, against: Outputs | Array) -> float:
    return float(np.sqrt((_errors(outputs, against, "rmse") ** 2).mean()))


def _mae(outputs: Outputs, against: Outputs | Array) -> float:
    return float(np.abs(_errors(outputs, against, "mae")).mean())


def _cosines(outputs: Outputs, expected: Outputs) -> Array:
    """Row by row the cosine between both models' first float output; two zero rows are alike."""
    a, b = _both(outputs, expected)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return np.asarray(np.divide((a * b).sum(axis=1), lengths, where=lengths > 0, out=both_zero.astype(np.float64)))


def _neighbours_at(count: int) -> Callable[[Outputs, Any], Array]:
    return lambda outputs, expected: neighbours_kept(*_both(outputs, expected), count)


def _ndcg_at(places: int | None) -> Callable[[Outputs, Any], Array]:
    def by_group(outputs: Outputs, against: Against) -> Array:
        _, scores = _scores(outputs)
        # Of two columns, as classifiers give them, the last is the probability of "relevant".
        scores = scores.reshape(len(scores), -1)[:, -1]
        relevance = _like(np.asarray(against.labels), len(scores), "ndcg")
        if kind_of(relevance.dtype) == "text":
            raise InvalidInput("ndcg needs labels that are numbers")
        return ndcg_by_group(scores, relevance.astype(np.float64), np.asarray(against.groups).ravel(), places)

    return by_group


def _by_unit(name: str, needs: Needs, units: Callable[[Outputs, Any], Array]) -> Metric:
    return Metric(name, needs, lambda outputs, against: float(units(outputs, against).mean()), units=units)


def _custom(name: str, function: Function, outputs: Outputs, labels: Array | None) -> float:
    return call(name, function, outputs, labels)


def _both(outputs: Outputs, expected: Outputs) -> tuple[Array, Array]:
    """The first float output of both models as (rows, values). Raises InvalidInput where they are not alike."""
    name, given = _scores(outputs)
    if name not in expected or np.shape(expected[name]) != given.shape:
        raise InvalidInput(f"output '{name}' has another shape in the other model, or is not there")
    wanted = as_comparable(np.asarray(expected[name]))
    return given.reshape(len(given), -1), wanted.reshape(len(given), -1)


def _errors(outputs: Outputs, against: Outputs | Array, metric: str) -> Array:
    name, given = _scores(outputs)
    if isinstance(against, Mapping):
        if name not in against:
            raise InvalidInput(f"the other model has no output '{name}'")
        against = against[name]
        if np.isnan(as_comparable(np.asarray(against))).any():
            raise InvalidInput(f"output '{name}' of the other model holds NaN")
    return np.asarray(given.ravel() - _like(np.asarray(against), given.size, metric).astype(np.float64))


def _decided(outputs: Outputs, labels: Array) -> tuple[Array, Array]:
    name = deciding_output(outputs)
    decided = decisions(name, outputs[name]).ravel()
    truth = _like(labels, decided.size, "the metric")
    if (kind_of(decided.dtype) == "text") != (kind_of(truth.dtype) == "text"):
        raise InvalidInput(f"output '{name}' and the labels cannot be compared: one is text, the other numbers")
    return decided, truth


def _scores(outputs: Outputs) -> tuple[str, Array]:
    """The first float output, as float64."""
    for name, output in outputs.items():
        if kind_of(np.asarray(output).dtype) == "float" and np.ndim(output):
            if not np.size(output):
                raise InvalidInput("there are no rows to judge")
            return name, as_comparable(np.asarray(output))
    raise Unsupported(f"none of the outputs {', '.join(outputs)} holds scores")


def _like(labels: Array, count: int, metric: str) -> Array:
    """``labels`` flat. Raises InvalidInput unless there are ``count`` of them, at least one."""
    if labels.size != count:
        raise InvalidInput(f"{metric} has {labels.size} labels for {count} outputs")
    if not count:
        raise InvalidInput("there are no rows to judge")
    flat = as_comparable(labels).ravel()
    if kind_of(labels.dtype) == "text" and any(value is None for value in flat.tolist()):
        raise InvalidInput("a label is null")
    if kind_of(labels.dtype) == "float" and np.isnan(flat).any():
        raise InvalidInput("a label is null")
    return flat


_HINTS: dict[Needs, str] = {
    "outputs": "this metric compares two models",
    "labels": "give the evaluation data a column 'label', or name it with --label; of a capture: mlserve outcome",
    "labels or outputs": "give the evaluation data a column 'label', or name it with --label",
    "labels and groups": "give the evaluation data columns 'label' and 'group', or name them with --label and --group",
}

_AT: dict[str, Callable[[int], Callable[[Outputs, Any], Array]]] = {"ndcg": _ndcg_at, "neighbours": _neighbours_at}


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("agreement", "outputs", _agreement, is_share=True),
        Metric("accuracy", "labels", _accuracy, is_share=True),
        Metric("f1", "labels", _f1),
        Metric("auc", "labels", _auc),
        Metric("log_loss", "labels", _log_loss, is_higher_better=False),
        Metric("rmse", "labels or outputs", _rmse, is_higher_better=False),
        Metric("mae", "labels or outputs", _mae, is_higher_better=False),
        _by_unit("ndcg", "labels and groups", _ndcg_at(None)),
        _by_unit("cosine", "outputs", _cosines),
        _by_unit("neighbours", "outputs", _neighbours_at(NEIGHBOURS)),
    )
}


def _mean_ranks(values: Array) -> Array:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[index])
