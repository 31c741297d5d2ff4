"""What was learned of a version's reference: one file, named by its content, from which every check begins.

A Parquet file, readable by any tool: its rows are the reference sample, its metadata ``mlserve.drift.profile`` the
document (JSON) with everything else. Nothing in it is code.

    input.NAME, output.NAME   as the model takes and gives them (lists of fixed length beyond one value)
    column.NAME               facets and predictions       label, time      row (its number), weight, is_uniform
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.core.dtypes import DType, from_numpy
from mlserve.core.evidence import isoformat
from mlserve.drift.calibration import Bin
from mlserve.drift.categorical import CategorySummary
from mlserve.drift.effects import Summary
from mlserve.drift.noise import Noise
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.predictions import PredictionPlan
from mlserve.drift.sample import DrawnRows
from mlserve.drift.schema import DriftSchema
from mlserve.errors import InvalidInput, Unsupported
from mlserve.rows.capture_format import from_values, to_values
from mlserve.rows.tables import Array

SCHEMA_ID = "mlserve.drift.profile/1"
"""Grows with each change that a reader must know of; readers take every one up to their own."""

_DOCUMENT = b"mlserve.drift.profile"
_SHAPE, _DATATYPE = b"shape", b"datatype"
_OWN = ("row", "weight", "is_uniform")


@dataclass(frozen=True, slots=True)
class Reference:
    """The data that a profile was learned from. ``start`` and ``end`` are its times, None where it has none.

    ``estimated_rows`` counts each row as often as it stands for; ``labelled`` and ``predicted`` how many rows had a
    label and an answer of the model.
    """

    data_digest: str
    kind: str
    rows: int
    estimated_rows: float
    labelled: int = 0
    predicted: int = 0
    start: datetime | None = None
    end: datetime | None = None

    @property
    def rows_per_s(self) -> float | None:
        """How many rows came in a second; None where times don't tell."""
        if self.start is None or self.end is None or self.end <= self.start:
            return None
        return self.estimated_rows / (self.end - self.start).total_seconds()

    def to_dict(self) -> dict[str, Any]:
        return {
            "data_digest": self.data_digest,
            "kind": self.kind,
            "rows": self.rows,
            "estimated_rows": self.estimated_rows,
            "labelled": self.labelled,
            "predicted": self.predicted,
            "start": None if self.start is None else isoformat(self.start),
            "end": None if self.end is None else isoformat(self.end),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Reference:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            known: dict[str, Any] = {
                name: fields[name]
                for name in ("data_digest", "kind", "rows", "estimated_rows", "labelled", "predicted")
            }
            for name in ("start", "end"):
                known[name] = None if fields[name] is None else datetime.fromisoformat(fields[name])
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("not the reference of a profile") from error


@dataclass(frozen=True, slots=True)
class Profile:
    """A version's reference. ``summaries`` and ``noise`` are by column (``columns.columns_of``, and predictions).

    ``calibration`` is empty without labels and probabilities; ``detectors`` are the names that were asked for, empty
    for a choice by type and size; ``duplicate_share`` is of rows that repeat another.
    """

    model_digest: str
    reference: Reference
    schema: DriftSchema
    summaries: Mapping[str, Summary]
    noise: Mapping[str, Noise]
    prediction: PredictionPlan | None
    calibration: tuple[Bin, ...]
    duplicate_share: float
    detectors: tuple[str, ...]
    sample: DrawnRows = field(repr=False)

    def document(self) -> dict[str, Any]:
        """Everything but the sample, as JSON values."""
        return {
            "schema_id": SCHEMA_ID,
            "model_digest": self.model_digest,
            "reference": self.reference.to_dict(),
            "schema": self.schema.to_dict(),
            "summaries": {name: summary.to_dict() for name, summary in self.summaries.items()},
            "noise": {name: noise.to_dict() for name, noise in self.noise.items()},
            "prediction": None if self.prediction is None else self.prediction.to_dict(),
            "calibration": [one.to_dict() for one in self.calibration],
            "duplicate_share": self.duplicate_share,
            "detectors": list(self.detectors),
        }


def to_bytes(profile: Profile) -> bytes:
    """The profile as a file; equal profiles are equal bytes, written by the same pyarrow."""
    fields: list[Any] = []
    arrays: list[Any] = []
    drawn = profile.sample
    own = dict(zip(_OWN, (drawn.index, drawn.weights, drawn.is_uniform), strict=True))
    for name, values in {**drawn.columns, **own}.items():
        one = _as_arrow(values)
        if one is not None:
            array, metadata = one
            arrays.append(array)
            fields.append(pa.field(name, array.type, metadata=metadata))
    schema = pa.schema(fields, {_DOCUMENT: canonical_json(profile.document())})
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def digest_of(content: bytes) -> str:
    """The profile's address."""
    return digest_bytes(content)


def from_bytes(content: bytes) -> Profile:
    """The inverse of ``to_bytes``. Raises InvalidInput for other files, Unsupported for one of a newer mlserve."""
    try:
        table = pq.read_table(pa.BufferReader(content))
        document = json.loads((table.schema.metadata or {})[_DOCUMENT])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InvalidInput("this is no drift profile") from error
    _check_schema(str(document.get("schema_id")))
    columns = {name: _from_arrow(table.column(name), table.schema.field(name)) for name in table.column_names}
    try:
        drawn = DrawnRows(
            {name: values for name, values in columns.items() if name not in _OWN},
            columns["row"],
            columns["weight"],
            columns["is_uniform"],
        )
        plan = document["prediction"]
        return Profile(
            model_digest=document["model_digest"],
            reference=Reference.from_dict(document["reference"]),
            schema=DriftSchema.from_dict(document["schema"]),
            summaries={name: summary_of(fields) for name, fields in document["summaries"].items()},
            noise={name: Noise.from_dict(fields) for name, fields in document["noise"].items()},
            prediction=None if plan is None else PredictionPlan.from_dict(plan),
            calibration=tuple(Bin.from_dict(one) for one in document["calibration"]),
            duplicate_share=float(document["duplicate_share"]),
            detectors=tuple(document["detectors"]),
            sample=drawn,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput("this drift profile lacks a part") from error


def summary_of(fields: Mapping[str, Any]) -> Summary:
    """The inverse of a summary's ``to_dict``, of either kind. Raises InvalidInput."""
    match fields.get("kind"):
        case "numeric":
            return NumericSummary.from_dict(fields)
        case "categorical":
            return CategorySummary.from_dict(fields)
        case kind:
            raise InvalidInput(f"'{kind}' is no kind of summary")


def _check_schema(schema_id: str) -> None:
    family, _, number = schema_id.rpartition("/")
    ours, _, known = SCHEMA_ID.rpartition("/")
    if family != ours or not number.isdecimal():
        raise InvalidInput(f"this is no drift profile: it is a '{schema_id}'")
    if int(number) > int(known):
        raise Unsupported(f"this profile was written by a newer mlserve, as {schema_id}", hint="upgrade mlserve")


def _as_arrow(values: Array) -> tuple[Any, dict[bytes, bytes]] | None:
    """A column with its metadata; None for one whose rows hold nothing, or what no file of Arrow's holds."""
    shape = values.shape[1:]
    size = int(np.prod(shape))
    if not size or values.dtype.kind == "c":
        return None
    flat = np.ascontiguousarray(values).reshape(-1)
    metadata = {_SHAPE: json.dumps(shape).encode()}
    if flat.dtype.kind in "OSU":
        array = pa.array([None if value is None else str(value) for value in flat.tolist()], pa.string())
    elif flat.dtype.kind in "mM":
        array = pa.array(flat.astype("datetime64[us]"))
    else:
        dtype = from_numpy(flat.dtype)
        metadata[_DATATYPE] = dtype.value.encode()
        array = to_values(flat, dtype)
    return (pa.FixedSizeListArray.from_arrays(array, size) if shape else array), metadata


def _from_arrow(column: Any, field: Any) -> Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    metadata = field.metadata or {}
    shape = tuple(json.loads(metadata.get(_SHAPE, b"[]")))
    rows = len(array)
    if shape:
        array = array.flatten()
    if _DATATYPE in metadata:
        flat = from_values(array, DType(metadata[_DATATYPE].decode()))
    elif pa.types.is_string(array.type):
        flat = np.array(array.to_pylist(), object)
    else:
        flat = array.to_numpy(zero_copy_only=False)
    return flat.reshape(rows, *shape)
