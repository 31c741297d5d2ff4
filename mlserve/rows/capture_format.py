"""What a capture holds: columns of every request, and for each tensor of a version its values and its shape.

A segment is frames (``frames``): a header, the Arrow schema, record batches of one row a request, and where it was
sealed an end. The payloads of the schema and the batches, one after the other, are an Arrow IPC stream.

    input.NAME         list<T>       values in row-major order        output.NAME, output_shape.NAME likewise;
    input_shape.NAME   list<int64>   shape with the rows on axis 0    null where not answered, dropped, or failed

Types that Arrow lacks are held as unsigned integers of their width; the field's metadata ``datatype`` says what they
are. Source of the IPC format: the Arrow columnar format, "Serialization and Interprocess Communication".
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec

SCHEMA_ID = "mlserve.capture/1"
"""Grows with each change that a reader must know of; readers take every one up to their own."""

SEALED_SUFFIX = ".mlcap"
OPEN_SUFFIX = ".mlcap.open"
PARQUET_SUFFIX = ".parquet"


class Kind(IntEnum):
    """What a frame of a segment is."""

    HEADER = 1
    SCHEMA = 2
    ROWS = 3
    END = 4


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a whole segment. ``share`` of the requests was taken; ``redaction`` is the policy's digest."""

    schema: str = SCHEMA_ID
    model: str
    version: int
    digest: str | None
    server: str
    started_at: str
    share: float = 1.0
    redaction: str | None = None
    tool: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last frame of a sealed segment."""

    rows: int
    requests: int
    dropped: int


REQUEST_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("request_id", pa.string()),
    ("arrived_at", pa.timestamp("ns", tz="UTC")),
    ("stage", pa.string()),
    ("unit_key_hash", pa.string()),
    ("status", pa.int16()),
    ("rows", pa.int64()),
    ("first_row", pa.int64()),
    ("queue_ns", pa.int64()),
    ("compute_ns", pa.int64()),
    ("batch_id", pa.int64()),
    ("slot", pa.int64()),
    ("batch_rows", pa.int64()),
    ("weight", pa.float64()),
)
"""Of every request: when it came, the stage it was answered for ("" where a version was asked for), HTTP's status, its
rows, where they begin in the request (which is served in pieces if it is large), how long it waited and was computed,
the run it was in, its first row there and all rows of that run, and how many requests it stands for."""

DATATYPE = b"datatype"


def is_capture(path: Path) -> bool:
    """Whether ``path`` is a capture, by its name: a folder, or a segment."""
    return path.is_dir() or path.name.endswith((SEALED_SUFFIX, OPEN_SUFFIX))


def schema_of(signature: Signature, header: Header) -> pa.Schema:
    """The columns of a version's segments."""
    fields = [pa.field(name, kind) for name, kind in REQUEST_COLUMNS]
    for role, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            fields += _fields(role, spec)
    return pa.schema(fields, {b"mlserve.capture": msgspec.json.encode(header)})


def _fields(role: str, spec: TensorSpec) -> list[pa.Field]:
    return [
        pa.field(f"{role}.{spec.name}", pa.list_(arrow_type(spec.dtype)), metadata={DATATYPE: spec.dtype.value}),
        pa.field(f"{role}_shape.{spec.name}", pa.list_(pa.int64())),
    ]


def tensors_of(schema: pa.Schema, role: str) -> dict[str, DType]:
    """The tensors that a segment has for ``role``, "input" or "output", by name, in the order of the signature."""
    prefix = f"{role}."
    return {
        field.name.removeprefix(prefix): DType(field.metadata[DATATYPE].decode())
        for field in schema
        if field.name.startswith(prefix) and field.metadata and DATATYPE in field.metadata
    }


def arrow_type(dtype: DType) -> Any:
    """What holds one element of ``dtype``."""
    if dtype is DType.STRING:
        return pa.string()
    if dtype is DType.BOOL:
        return pa.bool_()
    return pa.from_numpy_dtype(storage_type(dtype))


def storage_type(dtype: DType) -> np.dtype[Any]:
    """The numpy type whose bytes a column has for ``dtype``: its own, or where Arrow has none an unsigned integer."""
    own = dtype.numpy
    if own.kind in "iuf" and own.isbuiltin:
        return own
    return np.dtype(f"u{own.itemsize}")


def to_values(flat: np.ndarray[Any, Any], dtype: DType) -> pa.Array:
    """The elements of a tensor as an Arrow array; numbers are not copied."""
    if dtype is DType.STRING:
        return pa.array([_text(value) for value in flat.tolist()], pa.string())
    if dtype is DType.BOOL:
        return pa.array(flat)
    if flat.dtype != dtype.numpy:
        flat = flat.astype(dtype.numpy)
    return pa.array(flat.view(storage_type(dtype)))


def from_values(values: pa.Array, dtype: DType) -> np.ndarray[Any, Any]:
    """The elements as they were captured, flat; numbers are a view where Arrow allows it."""
    if dtype is DType.STRING:
        return np.array(values.to_pylist(), dtype=object)
    array: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False)
    return array if dtype is DType.BOOL else array.view(dtype.numpy)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
