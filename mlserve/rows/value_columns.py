"""Columns out of decoded JSON values: numbers, text, booleans, and lists of them at any depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array, merge_runs

Complain = Callable[[int, str], InvalidInput]
"""Makes the error for a row of the batch (from 0) and a fact about its value."""


def runs_of(values: Sequence[Any], complain: Complain) -> list[Array]:
    """``values``, one a row, as one array, or as several where rows differ in shape.

    Null becomes NaN among numbers and None among text and booleans. Raises what ``complain`` makes for a row that is
    ragged in itself, an object, or a mix of text and numbers.
    """
    try:
        return [rectangular(values)]
    except ValueError:
        singles = [_single(value, row, complain) for row, value in enumerate(values)]
    for row, single in enumerate(singles):
        if (single.dtype.kind == "O") != (singles[0].dtype.kind == "O"):
            raise complain(row, "text here and numbers elsewhere, or the other way round")
    return merge_runs(singles)


def rectangular(values: Sequence[Any]) -> Array:
    """Nested lists as one array. Raises ValueError where they are ragged, or hold objects or mixed types."""
    array = np.array(values)
    if array.dtype.kind in "biuf":
        return array
    leaves = np.array(values, dtype=object)
    kinds = {type(leaf) for leaf in leaves.ravel().tolist()}
    if kinds <= {str, type(None)} or kinds <= {bool, type(None)}:
        return np.full(leaves.shape, np.nan) if kinds == {type(None)} else leaves
    if kinds <= {int, float, bool, type(None)}:
        return np.array(values, dtype=np.float64)
    raise ValueError("objects, or text among numbers")


def _single(value: Any, row: int, complain: Complain) -> Array:
    try:
        return rectangular([value])
    except ValueError as error:
        fact = "ragged, or a mix of types" if isinstance(value, list) else f"a JSON {_json_name(value)}"
        raise complain(row, fact) from error


def _json_name(value: Any) -> str:
    return "object" if isinstance(value, dict) else type(value).__name__
