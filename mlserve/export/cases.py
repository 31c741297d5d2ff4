"""The inputs that an export is compared on besides the sample: other batch sizes, other lengths, edge rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlserve.core.tensors import Signature, TensorSpec
from mlserve.export.exporter import Arrays
from mlserve.export.parity import Case, take

MAX_EDGE_COLUMNS = 64
UNKNOWN_CATEGORY = "mlserve-unknown-category"


def shape_cases(rows: Arrays, signature: Signature) -> Iterator[Case]:
    """A batch of one, a batch of three, and each other dynamic axis shorter and longer than in ``rows``.

    An exporter that bakes the sample's shape into the graph passes at that shape and fails here.
    """
    if not is_batched(signature):
        return
    count = len(next(iter(rows.values())))
    yield Case("batch of 1", take(rows, [0]))
    yield Case("batch of 3", take(rows, [index % count for index in range(3)]))
    few = take(rows, range(min(count, 4)))
    for axis_name, length in _free_axes(rows, signature).items():
        for other in sorted({max(1, length // 2), length + 3} - {length}):
            yield Case(f"{axis_name} of {other}", _with_length(few, signature, axis_name, other))


def edge_cases(rows: Arrays) -> Iterator[Case]:
    """Single rows at the edge of a table: the smallest and largest of each column, missing values, an unknown category.

    Missing values count only in columns where ``rows`` have some: elsewhere the original answers by accident.
    """
    floats = {name: array for name, array in rows.items() if array.dtype.kind == "f"}
    texts = [name for name, array in rows.items() if array.dtype == object]
    if floats:
        yield Case("smallest values", _replaced(rows, {name: _extreme(a, np.fmin) for name, a in floats.items()}))
        yield Case("largest values", _replaced(rows, {name: _extreme(a, np.fmax) for name, a in floats.items()}))
        seen, unseen = _missing(rows, floats, seen=True), _missing(rows, floats, seen=False)
        if seen is not None:
            yield Case("missing values", seen)
        if unseen is not None:
            yield Case("missing values in columns without any", unseen, is_required=False)
    if texts:
        unknown = {name: np.full_like(rows[name][:1], UNKNOWN_CATEGORY) for name in texts}
        yield Case("unknown category", _replaced(rows, unknown))


def is_batched(signature: Signature) -> bool:
    """Whether axis 0 of every input is the same dynamic axis."""
    firsts = {spec.dims[0] if spec.dims else 0 for spec in signature.inputs}
    return len(firsts) == 1 and not isinstance(next(iter(firsts)), int)


def _free_axes(rows: Arrays, signature: Signature) -> dict[str, int]:
    """Name and length of each dynamic axis other than the batch."""
    return {
        name: rows[spec.name].shape[axis]
        for spec in signature.inputs
        for axis, name in enumerate(spec.dims)
        if axis and isinstance(name, str)
    }


def _with_length(rows: Arrays, signature: Signature, axis_name: str, length: int) -> Arrays:
    def resized(spec: TensorSpec) -> np.ndarray[Any, Any]:
        array = rows[spec.name]
        for axis, name in enumerate(spec.dims):
            if axis and name == axis_name:
                array = np.take(array, np.arange(length), axis=axis, mode="wrap")
        return array

    return {spec.name: resized(spec) for spec in signature.inputs}


def _extreme(array: np.ndarray[Any, Any], pick: np.ufunc) -> np.ndarray[Any, Any]:
    return np.asarray(pick.reduce(array, axis=0, keepdims=True))


def _replaced(rows: Arrays, new: dict[str, np.ndarray[Any, Any]]) -> Arrays:
    return {name: new.get(name, array[:1]) for name, array in rows.items()}


def _missing(rows: Arrays, floats: Arrays, *, seen: bool) -> Arrays | None:
    """One row per float column that has missing values (or has none, as ``seen`` says), that column missing."""
    places = [
        (name, column)
        for name, array in floats.items()
        for column in range(int(np.prod(array.shape[1:])))
        if bool(np.isnan(array.reshape(len(array), -1)[:, column]).any()) == seen
    ][:MAX_EDGE_COLUMNS]
    if not places:
        return None
    lines = {name: np.repeat(array[:1], len(places), axis=0) for name, array in rows.items()}
    for line, (name, column) in enumerate(places):
        lines[name].reshape(len(places), -1)[line, column] = np.nan
    return lines
