"""Arrow columns as numpy arrays: numbers, text, and lists of them at any depth, in runs of equal shape."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array, merge_runs


def runs_of(column: pa.Array, *, name: str, start: int, path: Path) -> list[Array]:
    """``column`` as one array, or as several where its lists differ in length; row ``start`` (from 0) comes first.

    Nulls become NaN among numbers and None among text and booleans. Raises InvalidInput, naming column and row, for a
    null in place of a list, a row that is ragged in itself, and for structs, maps and the like.
    """
    place = _Place(path, name, start)
    if isinstance(column.type, pa.FixedShapeTensorType):
        shape = tuple(column.type.shape)
        return [run.reshape(len(run), *shape) for run in runs_of(column.storage, name=name, start=start, path=path)]
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _list_runs(column, place)
    return [_flat(column, place)]


class _Place:
    """Where a value lies, for messages; ``row`` counts from 0."""

    def __init__(self, path: Path, name: str, row: int) -> None:
        self.path, self.name, self.row = path, name, row

    def error(self, offset: int, fact: str) -> InvalidInput:
        return InvalidInput(f"'{self.path}' row {self.row + offset + 1}, column '{self.name}': {fact}")


def _list_runs(column: pa.Array, place: _Place) -> list[Array]:
    if column.null_count:
        raise place.error(int(pc.index(column.is_null(), True).as_py()), "null, where a list is expected")
    if not len(column):
        return [np.zeros((0, 0))]
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    cuts = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(column)]
    runs: list[Array] = []
    for first, end in pairwise(cuts):
        runs += _equally_long(column.slice(first, end - first), int(lengths[first]), first, place)
    return merge_runs(runs)


def _equally_long(column: pa.Array, length: int, first: int, place: _Place) -> list[Array]:
    """Rows that are lists of ``length`` values; only deeper lists may still differ."""
    start = place.row + first
    inner = runs_of(column.flatten(), name=place.name, start=start, path=place.path)
    if len(inner) == 1:
        return [inner[0].reshape(len(column), length, *inner[0].shape[1:])]
    if len(column) == 1:
        raise place.error(first, "ragged: its inner lists differ in length")
    return [
        run for row in range(len(column)) for run in _equally_long(column.slice(row, 1), length, first + row, place)
    ]


def _flat(column: pa.Array, place: _Place) -> Array:
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and column.null_count):
        column = column.cast(pa.float64(), safe=False)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        column = _as_text(column, place)
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit))
    elif not _is_plain(kind):
        raise place.error(0, f"{kind} is neither numbers nor text nor lists of them")
    values: Array = column.to_numpy(zero_copy_only=False)
    return values


def _is_plain(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
    )


def _as_text(column: pa.Array, place: _Place) -> pa.Array:
    try:
        return column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise place.error(0, "bytes that are not UTF-8 text") from error
