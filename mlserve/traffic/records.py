"""``Recorded``: some requests that were run together → rows of a capture.

The arrays of a run are kept as they are and become columns much later, many runs at once, in another thread: what is
left to do while requests are answered is to make one small object a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from mlserve.core.dtypes import DType
from mlserve.rows.capture_format import REQUEST_COLUMNS, to_values
from mlserve.traffic.recorded import Array, Recorded


def columns_of(recorded: Sequence[Recorded], schema: pa.Schema, weight: float) -> pa.RecordBatch:
    """One row a request, in order. ``recorded`` are all of the version that ``schema`` is of."""
    counts = np.array([one.requests for one in recorded], np.int64)
    if all([one.rows is None for one in recorded]):
        rows = np.ones(int(counts.sum()), np.int64)
    else:
        rows = np.array([value for one in recorded for value in one.rows or (1,) * one.requests], np.int64)
    columns = _request_columns(recorded, counts, rows, weight)
    signature = recorded[0].source.signature
    for specs, parts in (
        (signature.inputs, [one.inputs for one in recorded]),
        (signature.outputs, [one.outputs for one in recorded]),
    ):
        are_outputs = specs is signature.outputs
        for spec in specs:
            arrays = [None if part is None else part.get(spec.name) for part in parts]
            tensor = _whole(recorded, arrays, rows, spec.name if are_outputs else None)
            columns += _lists(tensor or _pieced(recorded, arrays, spec.name, is_output=are_outputs), spec.dtype)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _request_columns(recorded: Sequence[Recorded], counts: Array, rows: Array, weight: float) -> list[pa.Array]:
    def each(values: list[Any], kind: Any = np.int64) -> Array:
        return np.repeat(np.array(values, kind), counts)

    arrived_s = np.array(list(chain.from_iterable([one.arrived_s for one in recorded])))
    waited_s = np.maximum(each([one.taken_s or 0.0 for one in recorded], np.float64) - arrived_s, 0.0)
    before = np.cumsum(rows) - rows
    firsts = (np.cumsum(counts) - counts).clip(max=max(0, len(rows) - 1))
    values: dict[str, Any] = {
        "request_id": _ids(recorded),
        "arrived_at": _ns(each([one.epoch_s for one in recorded], np.float64) + arrived_s),
        "stage": _stages(recorded, counts),
        "unit_key_hash": _optional([one.unit_keys for one in recorded], counts),
        "status": each([one.status for one in recorded], np.int16),
        "rows": rows,
        "first_row": _firsts(recorded, counts),
        "queue_ns": _ns(waited_s),
        "compute_ns": each([round(1e9 * one.compute_s) for one in recorded]),
        "batch_id": each([one.batch_id for one in recorded]),
        "slot": before - np.repeat(before[firsts], counts),
        "batch_rows": each([one.batch_rows for one in recorded]),
        "weight": np.full(len(rows), weight),
    }
    return [
        pa.array(values[name], kind) if name != "arrived_at" else pa.array(values[name]).view(kind)
        for name, kind in REQUEST_COLUMNS
    ]


def _ns(seconds: Array) -> Array:
    """Nanoseconds. Of a time since 1970 a float has a quarter of a microsecond."""
    whole = np.floor(seconds)
    nanoseconds: Array = whole.astype(np.int64) * 1_000_000_000 + ((seconds - whole) * 1e9).astype(np.int64)
    return nanoseconds


def _ids(recorded: Sequence[Recorded]) -> pa.Array:
    ids = list(chain.from_iterable([one.ids for one in recorded]))
    try:
        return pa.array(ids, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:  # a header may have bytes that are no text
        return pa.array([part.decode("utf-8", "replace") for part in ids], pa.string())


def _stages(recorded: Sequence[Recorded], counts: Array) -> pa.Array:
    if all([one.pinned is None for one in recorded]) and len({one.stage for one in recorded}) == 1:
        return pa.repeat(pa.scalar(recorded[0].stage, pa.string()), int(counts.sum()))
    stages: list[str] = []
    for one in recorded:
        stages += [one.stage] * one.requests if one.pinned is None else ["" if own else one.stage for own in one.pinned]
    return pa.array(stages, pa.string())


def _optional(parts: Sequence[Sequence[str | None] | None], counts: Array) -> pa.Array:
    if all([part is None for part in parts]):
        return pa.nulls(int(counts.sum()), pa.string())
    texts = [text for part, count in zip(parts, counts, strict=True) for text in part or (None,) * int(count)]
    return pa.array(texts, pa.string())


def _firsts(recorded: Sequence[Recorded], counts: Array) -> Array:
    if all([one.first_rows is None for one in recorded]):
        return np.zeros(int(counts.sum()), np.int64)
    return np.array([row for one in recorded for row in one.first_rows or (0,) * one.requests], np.int64)


class _Tensor(msgspec.Struct):
    """A tensor of several requests: flat values, how many each has, flat shapes, the rank of each, who has none."""

    flat: Array | None
    sizes: Array
    dims: Array
    ranks: Array
    missing: Sequence[bool] | None


def _whole(
    recorded: Sequence[Recorded], arrays: Sequence[Array | None], rows: Array, output: str | None
) -> _Tensor | None:
    """The usual case: every request has it, in rows of one shape. ``output`` is its name if it is one."""
    if not all([one.is_sliced for one in recorded]) or (output is not None and any([one.asked for one in recorded])):
        return None
    present = [array for array in arrays if array is not None]
    if len(present) < len(arrays) or len({array.shape[1:] for array in present}) != 1:
        return None
    tail = present[0].shape[1:]
    shapes = np.empty((len(rows), 1 + len(tail)), np.int64)
    shapes[:, 0] = rows
    shapes[:, 1:] = tail
    flat = (np.concatenate(present) if len(present) > 1 else present[0]).reshape(-1)
    return _Tensor(flat, rows * prod(tail), shapes.reshape(-1), np.full(len(rows), 1 + len(tail)), None)


def _pieced(recorded: Sequence[Recorded], arrays: Sequence[Array | None], name: str, *, is_output: bool) -> _Tensor:
    """Any case, request by request."""
    flats: list[Array] = []
    sizes: list[int] = []
    dims: list[int] = []
    ranks: list[int] = []
    missing: list[bool] = []
    for one, array in zip(recorded, arrays, strict=True):
        start = 0
        for number in range(one.requests):
            rows = 1 if one.rows is None else one.rows[number]
            asked = one.asked[number] if is_output and one.asked is not None else None
            is_missing = array is None or (asked is not None and name not in asked)
            part = None if array is None or is_missing else array[start : start + rows] if one.is_sliced else array
            start += rows
            missing.append(part is None)
            sizes.append(0 if part is None else part.size)
            ranks.append(0 if part is None else part.ndim)
            if part is not None:
                flats.append(part.reshape(-1))
                dims += part.shape
    return _Tensor(
        np.concatenate(flats) if flats else None,
        np.array(sizes, np.int64),
        np.array(dims, np.int64),
        np.array(ranks, np.int64),
        missing if any(missing) else None,
    )


def _lists(tensor: _Tensor, dtype: DType) -> list[pa.Array]:
    """The column of values and the column of shapes."""
    flat = np.empty(0, dtype.numpy) if tensor.flat is None else np.ascontiguousarray(tensor.flat)
    mask = None if tensor.missing is None else pa.array(tensor.missing, pa.bool_())
    return [
        pa.ListArray.from_arrays(_offsets(tensor.sizes), to_values(flat, dtype), mask=mask),
        pa.ListArray.from_arrays(_offsets(tensor.ranks), pa.array(tensor.dims, pa.int64()), mask=mask),
    ]


def _offsets(sizes: Array) -> pa.Array:
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pa.array(offsets)
