"""Columns made ready for a test: what is missing taken out, categories numbered, numbers side by side in one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.drift.detectors.detector import Array, Sample
from mlserve.errors import InvalidInput

MAX_CATEGORIES = 1000
"""Of more, those that are rarest in both samples together are one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One matrix a sample, (rows, features) float32; ``missing`` rows of each had a value that is no finite number."""

    reference: Array
    window: Array
    missing: tuple[int, int]
    names: tuple[str, ...]


def check_alike(reference: Sample, window: Sample) -> None:
    """Raise InvalidInput unless both samples have the same columns, and each of them rows of one number."""
    if (
        not reference
        or list(reference) != [name for name in reference if name in window]
        or len(window) > len(reference)
    ):
        odd = sorted(set(reference) ^ set(window)) or ["none at all"]
        raise InvalidInput(f"the reference and the window have not the same columns: {', '.join(odd)}")
    for which, sample in (("reference", reference), ("window", window)):
        if len({len(column) for column in sample.values()}) > 1:
            raise InvalidInput(f"the columns of the {which} have not all the same number of rows")
    for name, column in reference.items():
        if column.shape[1:] != window[name].shape[1:]:
            raise InvalidInput(f"'{name}' has rows of shape {column.shape[1:]} and {window[name].shape[1:]}")


def is_categorical(column: Array) -> bool:
    """Whether a column can only be categories: texts, booleans, objects."""
    return column.dtype.kind in "OSUb"


def numbers_there(name: str, column: Array) -> Array:
    """The values of a numeric column that are there, (rows,) float64. Raises InvalidInput for texts or a matrix."""
    if column.dtype.kind not in "fiub":
        raise InvalidInput(f"'{name}' has values of type {column.dtype}, which are not numbers")
    values = _one_each(name, _unmasked(column)).astype(np.float64)
    there: Array = values[~np.isnan(values)]
    return there


def categories_there(name: str, column: Array) -> Array:
    """The values of a categorical column that are not missing (None, NaN, masked), (rows,)."""
    values = _one_each(name, _unmasked(column))
    if values.dtype.kind == "O":
        return np.array([str(value) for value in values if value is not None and value == value], dtype=str)
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def numbered(reference: Array, window: Array) -> tuple[Array, Array, int]:
    """Both as (rows,) int64 numbers of the categories that either has, and how many rare ones were made one."""
    if reference.dtype.kind != window.dtype.kind and "U" in (reference.dtype.kind, window.dtype.kind):
        reference, window = reference.astype(str), window.astype(str)
    names, codes = np.unique(np.concatenate([reference, window]), return_inverse=True)
    codes = codes.astype(np.int64)
    folded = len(names) - MAX_CATEGORIES
    if folded > 0:
        # The rest become one, so that a table of thousands of empty cells does not drown what has changed.
        order = np.argsort(-np.bincount(codes), kind="stable")
        rank = np.empty(len(names), np.int64)
        rank[order] = np.arange(len(names))
        codes = np.minimum(rank[codes], MAX_CATEGORIES - 1)
    return codes[: len(reference)], codes[len(reference) :], folded + 1 if folded > 0 else 0


def side_by_side(reference: Sample, window: Sample, *, scaled: bool) -> Rows:
    """All columns, of any shape, flattened beside each other; rows that are not finite throughout are left out.

    With ``scaled`` each feature has the reference's mean 0 and deviation 1 (a constant one stays as wide as it is).
    Raises InvalidInput for columns that are not numbers.
    """
    check_alike(reference, window)
    one, gone = _finite(reference)
    other, gone_too = _finite(window)
    if scaled and len(one):
        mean, sd = one.mean(axis=0), one.std(axis=0)
        wide = np.where(sd > 0, sd, 1.0)
        one, other = (one - mean) / wide, (other - mean) / wide
    return Rows(
        np.ascontiguousarray(one, np.float32),
        np.ascontiguousarray(other, np.float32),
        (gone, gone_too),
        _names(reference),
    )


def drawn(rows: Rows, most: int, seed: int) -> tuple[Rows, tuple[str, ...]]:
    """At most ``most`` rows of both together, drawn without replacement in their order, and a note that says so."""
    have = len(rows.reference), len(rows.window)
    if sum(have) <= most:
        return rows, ()
    half = most // 2
    take = [min(have[0], max(half, most - have[1])), min(have[1], max(half, most - have[0]))]
    rng = np.random.default_rng(seed)
    parts = [
        part[np.sort(rng.choice(len(part), count, replace=False))]
        for part, count in zip((rows.reference, rows.window), take, strict=True)
    ]
    note = f"{take[0]:,} of {have[0]:,} reference rows and {take[1]:,} of {have[1]:,} window rows were drawn"
    return Rows(parts[0], parts[1], rows.missing, rows.names), (note,)


def _finite(sample: Sample) -> tuple[Array, int]:
    parts = []
    for name, column in sample.items():
        if column.dtype.kind not in "fiub":
            raise InvalidInput(f"'{name}' has values of type {column.dtype}, which are not numbers")
        values = np.asarray(column, np.float64)
        if isinstance(column, np.ma.MaskedArray):
            values = np.where(np.broadcast_to(column.mask, column.shape), np.nan, values)
        parts.append(values.reshape(len(column), -1))
    matrix = np.concatenate(parts, axis=1)
    whole = np.isfinite(matrix).all(axis=1)
    return matrix[whole], int((~whole).sum())


def _names(sample: Sample) -> tuple[str, ...]:
    names: list[str] = []
    for name, column in sample.items():
        width = int(np.prod(column.shape[1:], dtype=int))
        names += [name] if width == 1 else [f"{name}[{place}]" for place in range(width)]
    return tuple(names)


def _unmasked(column: Array) -> Array:
    if isinstance(column, np.ma.MaskedArray):
        return np.asarray(column.data)[~np.broadcast_to(column.mask, column.shape)]
    return np.asarray(column)


def _one_each(name: str, values: np.ndarray[Any, Any]) -> Array:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise InvalidInput(f"'{name}' has {values.ndim - 1} more axes than a test of one number a row takes")
    return values
