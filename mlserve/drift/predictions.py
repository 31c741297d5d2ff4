"""What a model answered, as columns to be watched like features: score, class, how sure it was, and how wrong.

    classes (rows,) and/or scores (rows, C)  ─► prediction.class, .score, .confidence, .margin, .entropy
    one probability a row                    ─► the same, of the two classes "no" and "yes"
    one number a row                         ─► prediction.score
    anything else (embeddings, tokens)       ─► prediction.mean, .norm, .spread
    … and with labels                        ─► prediction.error, prediction.loss

``error`` is 0 or 1 for classes and the absolute error of a number; ``loss`` is the log loss where scores are
probabilities of known classes, the squared error of a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from mlserve.compare.kinds import as_comparable, kind_of
from mlserve.drift.categorical import as_category
from mlserve.drift.schema import RESERVED
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

Task = Literal["classes", "probability", "number", "tensor"]
PREFIX = RESERVED
CATEGORICAL = (f"{PREFIX}class",)
_LEAST = 1e-15
_SUM_ATOL = 1e-2
"""Probabilities of a quantized model add up to one only about."""


@dataclass(frozen=True, slots=True)
class PredictionPlan:
    """Which outputs say what. ``classes`` are what the columns of ``score_output`` stand for, as text, where known."""

    task: Task
    score_output: str | None
    class_output: str | None
    classes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "score_output": self.score_output,
            "class_output": self.class_output,
            "classes": list(self.classes),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PredictionPlan:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            if fields["task"] not in get_args(Task):
                raise InvalidInput(f"'{fields['task']}' is no kind of prediction")
            return cls(fields["task"], fields["score_output"], fields["class_output"], tuple(fields["classes"]))
        except (KeyError, TypeError) as error:
            raise InvalidInput("not a plan of predictions") from error


def plan_of(
    outputs: Mapping[str, Array], *, score: str | None = None, labels: Array | None = None
) -> PredictionPlan | None:
    """How to read ``outputs``, some rows of a model's answers; ``score`` names the output to watch, if one is wanted.

    ``labels`` of the same rows tell a number between 0 and 1 from a probability. None where no output has rows.
    """
    rows = {name: as_comparable(array) for name, array in outputs.items() if np.ndim(array)}
    floats = [name for name, array in rows.items() if kind_of(array.dtype) == "float"]
    decided = next((name for name, array in rows.items() if name not in floats and _is_flat(array)), None)
    if score is not None and score in rows and score not in floats:
        return PredictionPlan("classes", None, score)
    name = score if score in floats else next(iter(floats), None)
    if name is None:
        return None if decided is None else PredictionPlan("classes", None, decided)
    values = rows[name]
    if _is_flat(values):
        if _is_probability(_flat(values)) and not _are_numbers(labels):
            return PredictionPlan("probability", name, decided, ("0", "1"))
        return PredictionPlan("number" if decided is None else "classes", name, decided)
    if values.ndim == 2 and _are_probabilities(values):
        return PredictionPlan("classes", name, decided, _classes_of(values, None if decided is None else rows[decided]))
    return PredictionPlan("tensor", name, None) if decided is None else PredictionPlan("classes", None, decided)


def columns_of(plan: PredictionPlan, outputs: Mapping[str, Array], labels: Array | None = None) -> dict[str, Array]:
    """The columns of rows that were answered with ``outputs``; (rows,) each, ``prediction.class`` objects of text.

    With ``labels`` (rows,), masked or NaN or None where unknown, also error and loss, NaN where unknown. Outputs that
    the plan wants and that are not there give no columns.
    """
    columns = _answered(plan, outputs)
    if labels is not None and columns:
        columns |= _judged(plan, columns, outputs, labels)
    return {f"{PREFIX}{name}": values for name, values in columns.items()}


def known_labels(labels: Array) -> Array:
    """Where labels are known, (rows,) bool."""
    known = ~np.broadcast_to(labels.mask, labels.shape) if isinstance(labels, np.ma.MaskedArray) else None
    known = np.ones(len(labels), bool) if known is None else known
    plain = _plain(labels)
    if plain.dtype.kind == "f":
        known &= ~np.isnan(plain)
    elif plain.dtype.kind == "O":
        known &= np.array([value is not None and value == value for value in plain.tolist()], bool)
    return known


def _answered(plan: PredictionPlan, outputs: Mapping[str, Array]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    scores = None if plan.score_output is None else outputs.get(plan.score_output)
    if plan.class_output is not None and plan.class_output in outputs:
        found["class"] = _texts(_flat(as_comparable(outputs[plan.class_output])))
    if scores is None:
        return found
    values = as_comparable(np.asarray(scores)).astype(np.float64)
    if plan.task == "tensor":
        flat = values.reshape(len(values), -1)
        return {"mean": flat.mean(axis=1), "norm": np.sqrt((flat * flat).sum(axis=1)), "spread": flat.std(axis=1)}
    if plan.task == "number" or not plan.classes:
        return found | {"score": _flat(values)}
    shares = (
        values if values.ndim == 2 and values.shape[1] > 1 else np.stack([1 - _flat(values), _flat(values)], axis=1)
    )
    if plan.task == "probability" and "class" not in found:
        found["class"] = _texts((shares[:, 1] > 0.5).astype(np.int64))
    elif "class" not in found:
        found["class"] = _texts(shares.argmax(axis=1))
    best = np.sort(shares, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -(shares * np.log(np.maximum(shares, _LEAST))).sum(axis=1)
    score = shares[:, 1] if shares.shape[1] == 2 else best[:, -1]
    return found | {
        "score": score,
        "confidence": best[:, -1],
        "margin": best[:, -1] - best[:, -2],
        "entropy": entropy,
    }


def _judged(
    plan: PredictionPlan, columns: Mapping[str, Array], outputs: Mapping[str, Array], labels: Array
) -> dict[str, Array]:
    known = known_labels(labels)
    error = np.full(len(labels), np.nan)
    plain = _plain(labels)
    if plan.task == "number":
        loss = np.full(len(labels), np.nan)
        gap: Array = columns["score"][known] - plain[known].astype(np.float64)
        error[known], loss[known] = np.abs(gap), gap * gap
        return {"error": error, "loss": loss}
    if "class" not in columns:
        return {}
    truth = _texts(plain[known])
    error[known] = columns["class"][known] != truth
    if not plan.classes or plan.score_output is None or plan.score_output not in outputs:
        return {"error": error}
    return {"error": error, "loss": _log_loss(plan, outputs[plan.score_output], truth, known)}


def _log_loss(plan: PredictionPlan, scores: Array, truth: Array, known: Array) -> Array:
    place = {text: at for at, text in enumerate(plan.classes)}
    at = np.array([place.get(text, -1) for text in truth.tolist()], np.int64)
    values = as_comparable(np.asarray(scores)).astype(np.float64)[known]
    shares = (
        values if values.ndim == 2 and values.shape[1] > 1 else np.stack([1 - _flat(values), _flat(values)], axis=1)
    )
    chosen = np.where(at >= 0, shares[np.arange(len(at)), np.maximum(at, 0)], np.nan)
    loss = np.full(len(known), np.nan)
    loss[known] = -np.log(np.clip(chosen, _LEAST, 1.0))
    return loss


def _texts(values: Array) -> Array:
    kinds = np.empty(len(values), object)
    if values.dtype.kind in "biu":
        distinct, at = np.unique(values, return_inverse=True)
        names = np.empty(len(distinct), object)
        names[:] = [as_category(value) for value in distinct.tolist()]
        return names[at] if len(distinct) else kinds
    kinds[:] = [as_category(value) for value in values.tolist()]
    return kinds


def _shares(values: Array) -> Array:
    """(rows, classes), also of one probability a row."""
    return values if not _is_flat(values) else np.stack([1 - _flat(values), _flat(values)], axis=1)


def _plain(labels: Array) -> Array:
    return np.asarray(labels.data) if isinstance(labels, np.ma.MaskedArray) else labels


def _classes_of(scores: Array, decided: Array | None) -> tuple[str, ...]:
    """What each column of ``scores`` stands for: the class decided most often where it is largest, else its place."""
    names = [str(at) for at in range(scores.shape[1])]
    if decided is None:
        return tuple(names)
    best, texts = scores.argmax(axis=1), _texts(_flat(decided))
    for at in range(len(names)):
        if seen := Counter(texts[best == at].tolist()).most_common(1):
            names[at] = seen[0][0]
    return tuple(names)


def _are_numbers(labels: Array | None) -> bool:
    """Whether labels are measured and not counted: other values than 0 and 1 among them."""
    if labels is None:
        return False
    known = _plain(labels)[known_labels(labels)]
    return known.dtype.kind in "fiu" and not np.isin(known, (0, 1)).all()


def _is_flat(array: Array) -> bool:
    return array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)


def _flat(array: Array) -> Array:
    return array.reshape(len(array))


def _is_probability(values: Array) -> bool:
    present = values[~np.isnan(values)]
    return bool(present.size and (present >= 0).all() and (present <= 1).all())


def _are_probabilities(values: Array) -> bool:
    if values.shape[1] < 2 or not _is_probability(values.ravel()):
        return False
    return bool(np.allclose(values[~np.isnan(values).any(axis=1)].sum(axis=1), 1.0, atol=_SUM_ATOL))
