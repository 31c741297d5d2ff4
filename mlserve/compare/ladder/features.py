"""A row's inputs as named features: columns of numbers and of short texts, for slices and trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.compare.kinds import as_comparable, kind_of
from mlserve.compare.pairs import Outputs, State

Array = np.ndarray[Any, np.dtype[Any]]

MAX_COLUMNS = 256
"""A wider tensor (an image, an embedding) is told by the mean, the spread and the ends of its values."""

MAX_FEATURES = 512
_TEXT_COLUMNS = 8
_CHARACTERS = 64

_SUMMARIES: dict[str, Callable[[Array], Any]] = {
    "mean": lambda values: values.mean(axis=1),
    "std": lambda values: values.std(axis=1),
    "min": lambda values: values.min(axis=1),
    "max": lambda values: values.max(axis=1),
}


@dataclass(frozen=True, slots=True)
class Features:
    """``numbers`` (rows, len(names)) float64, NaN where a row has none; ``texts`` (rows, len(text_names)) of str or
    None."""

    names: tuple[str, ...]
    numbers: Array
    text_names: tuple[str, ...]
    texts: Array

    def take(self, rows: Array) -> Features:
        return Features(self.names, self.numbers[rows], self.text_names, self.texts[rows])

    def state(self) -> State:
        return {
            "names": list(self.names),
            "numbers": self.numbers,
            "text_names": list(self.text_names),
            "texts": self.texts.tolist(),
        }

    @classmethod
    def from_state(cls, state: State) -> Features:
        texts = np.empty((len(state["numbers"]), len(state["text_names"])), object)
        for at, row in enumerate(state["texts"]):
            texts[at, :] = row
        return cls(tuple(state["names"]), state["numbers"], tuple(state["text_names"]), texts)


def features_of(inputs: Outputs, chosen: Array, rows: int) -> Features:
    """Of rows ``chosen`` (indexes) of ``inputs``, which have ``rows`` rows; inputs without these rows are left out.

    A column of a tensor is named ``amount[3]``, one of width 1 by its tensor alone.
    """
    names: list[str] = []
    numbers: list[Array] = []
    text_names: list[str] = []
    texts: list[Array] = []
    for name, given in inputs.items():
        values = np.asarray(given)
        kind = kind_of(values.dtype)
        if not values.ndim or len(values) != rows or not values.size or kind not in ("float", "integer", "text"):
            continue
        flat = as_comparable(values[chosen].reshape(len(chosen), -1))
        width = flat.shape[1]
        if kind == "text":
            if width <= _TEXT_COLUMNS:
                text_names += _columns(name, width)
                texts.append(flat)
        elif width <= MAX_COLUMNS:
            names += _columns(name, width)
            numbers.append(flat)
        else:
            names += [f"{name}.{summary}" for summary in _SUMMARIES]
            wide = flat.astype(np.float64)
            with np.errstate(all="ignore"):
                numbers.append(np.stack([summary(wide) for summary in _SUMMARIES.values()], axis=1))
    joined = np.concatenate(numbers, axis=1, dtype=np.float64) if numbers else np.zeros((len(chosen), 0))
    return Features(
        tuple(names[:MAX_FEATURES]), joined[:, :MAX_FEATURES], tuple(text_names), _short(texts, len(chosen))
    )


def stacked(parts: list[Features]) -> Features:
    """The rows of all, one after the other; a feature that a part has not is NaN or None there."""
    first = parts[0]
    names, text_names = first.names, first.text_names
    if any(part.names != names or part.text_names != text_names for part in parts):
        names = tuple(sorted({name for part in parts for name in part.names}))[:MAX_FEATURES]
        text_names = tuple(sorted({name for part in parts for name in part.text_names}))
    return Features(
        names,
        np.concatenate([_arranged(part.names, part.numbers, names, np.nan) for part in parts]),
        text_names,
        np.concatenate([_arranged(part.text_names, part.texts, text_names, None) for part in parts]),
    )


def _columns(name: str, width: int) -> list[str]:
    return [name] if width == 1 else [f"{name}[{column}]" for column in range(width)]


def _short(texts: list[Array], rows: int) -> Array:
    if not texts:
        return np.empty((rows, 0), object)
    joined = np.concatenate(texts, axis=1)
    short = np.empty(joined.shape, object)
    short[:] = [[None if text is None else str(text)[:_CHARACTERS] for text in row] for row in joined.tolist()]
    return short


def _arranged(own: tuple[str, ...], values: Array, names: tuple[str, ...], missing: Any) -> Array:
    if own == names:
        return values
    arranged = np.full((len(values), len(names)), missing, values.dtype)
    place = {name: at for at, name in enumerate(own)}
    for at, name in enumerate(names):
        if name in place:
            arranged[:, at] = values[:, place[name]]
    return arranged
