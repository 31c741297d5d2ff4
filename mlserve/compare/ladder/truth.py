"""Labels and groups of pairs in the form that rungs count with."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.compare.kinds import as_comparable, kind_of
from mlserve.compare.pairs import Pairs

Array = np.ndarray[Any, np.dtype[Any]]

_INFINITE = (float("inf"), float("-inf"))


def known(column: Array | None, rows: int) -> Array:
    """(rows,) booleans: where ``column`` says something; nowhere if it is None.

    What is masked, None, NaN or infinite says nothing.
    """
    if column is None:
        return np.zeros(rows, bool)
    flat = unmasked(column).reshape(rows)
    mask = column.mask if isinstance(column, np.ma.MaskedArray) else False
    found = ~np.broadcast_to(mask, column.shape).reshape(rows)
    if flat.dtype.kind == "O":
        found &= np.array(
            [value is not None and value == value and value not in _INFINITE for value in flat.tolist()], bool
        )
    elif kind_of(flat.dtype) == "float":
        found &= np.isfinite(as_comparable(flat))
    return np.asarray(found)


def unmasked(column: Array) -> Array:
    """The values of ``column``, also of those that a mask hides."""
    return column.data if isinstance(column, np.ma.MaskedArray) else column


def labels_of(pairs: Pairs) -> tuple[Array, Array]:
    """The labels as numbers or text, (rows,), and where they are known; all unknown where there are none."""
    is_known = known(pairs.labels, pairs.rows)
    if pairs.labels is None:
        return np.zeros(pairs.rows), is_known
    labels = unmasked(pairs.labels).reshape(pairs.rows)
    if labels.dtype.kind == "O" and all(isinstance(value, (bool, int, float)) for value in labels[is_known].tolist()):
        numbers = np.zeros(pairs.rows)
        numbers[is_known] = labels[is_known].astype(np.float64)
        return numbers, is_known
    return as_comparable(labels), is_known


def numeric_labels_of(pairs: Pairs) -> tuple[Array, Array]:
    """The labels as float64, (rows,), and where they are known numbers."""
    labels, is_known = labels_of(pairs)
    if labels.dtype.kind not in "biuf":
        return np.zeros(pairs.rows), np.zeros(pairs.rows, bool)
    return labels.astype(np.float64), is_known


def row_weights(pairs: Pairs) -> Array:
    """(rows,) float64: how many rows each stands for."""
    if pairs.weights is None:
        return np.ones(pairs.rows)
    return np.repeat(np.asarray(pairs.weights, np.float64), np.asarray(pairs.rows_each, np.int64))
