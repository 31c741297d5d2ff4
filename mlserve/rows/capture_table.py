"""What a capture holds as rows: the data file that it is to every command, and its requests as plain values."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve.core.dtypes import DType
from mlserve.core.refs import Stage
from mlserve.errors import InvalidInput
from mlserve.rows.capture_file import files_of, open_file
from mlserve.rows.capture_format import from_values, tensors_of
from mlserve.rows.outcomes import Outcomes
from mlserve.rows.tables import Array, RawBatch


class CaptureTable:
    """The inputs that a capture has, with ``time``, ``key`` and ``group`` (the request's id) beside them, as any other
    data file.

    With ``labelled`` also ``label``, where outcomes are there; rows without one are then left out, and counted anew in
    ``unlabelled_rows`` each time. All files must be of one model: of a folder with several, its subfolder is meant.
    Raises NotFound, InvalidInput.
    """

    features_as_columns = False
    total_rows: int | None = None

    def __init__(self, path: Path, *, labelled: bool = False) -> None:
        self.path = path
        self._files = [file for one in files_of(path) if (file := open_file(one)) is not None]
        if not self._files:
            raise InvalidInput(f"'{path}' has no captured requests")
        models = sorted({file.header.model for file in self._files})
        if len(models) > 1:
            raise InvalidInput(f"'{path}' has captures of {', '.join(models)}", hint=f"'{path / models[0]}' is of one")
        inputs: dict[str, None] = {}
        for file in self._files:
            inputs |= dict.fromkeys(tensors_of(file.schema, "input"))
        self.unlabelled_rows = 0
        self._outcomes = Outcomes.open(path, models[0]) if labelled else None
        if self._outcomes is not None and self._outcomes.dtype is None:
            self._outcomes = None
        self.columns = (*inputs, "time", "key", "group", *(("label",) if self._outcomes is not None else ()))

    def batches(self, rows: int, only: Collection[str] | None = None) -> Iterator[RawBatch]:
        self.unlabelled_rows = 0
        for file in self._files:
            dtypes = tensors_of(file.schema, "input")
            for batch in map(traffic_in, file.batches()):
                for raw in rows_of(batch, "input", dtypes, outcomes=self._outcomes):
                    kept = raw if self._outcomes is None else self._labelled(raw)
                    if len(kept["time"]):
                        yield {name: array for name, array in kept.items() if only is None or name in only}

    def _labelled(self, raw: RawBatch) -> RawBatch:
        """``raw`` without the rows whose label is masked; a request whose tensors are no rows stays or goes whole."""
        labels: Any = raw["label"]
        is_known = ~np.atleast_1d(labels.mask)
        self.unlabelled_rows += int((~is_known).sum())
        kept = raw | {"label": labels.data}
        if is_known.all():
            return kept
        return {name: array[is_known] if len(array) == len(is_known) else array for name, array in kept.items()}


def traffic_in(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The requests of ``batch`` that somebody was answered, without those that a version in shadow had beside them."""
    return batch.filter(pc.not_equal(batch.column("stage"), str(Stage.SHADOW)))


def rows_of(
    batch: pa.RecordBatch, role: str, dtypes: dict[str, DType], *, outcomes: Outcomes | None = None
) -> Iterator[RawBatch]:
    """The tensors of ``role`` in ``batch``, rows of neighbours of equal shape joined, with their ``time``, ``key`` and
    ``group``; with ``outcomes`` also a ``label``, a masked array.

    Requests without all of them (what failed, what was redacted) are left out. A request whose tensors do not all have
    its rows on axis 0 comes by itself, as it was.
    """
    if not batch.num_rows:
        return
    counts = _numbers(batch.column("rows"))
    moments = batch.column("arrived_at").cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.timestamp("us"))
    times = moments.to_numpy(zero_copy_only=False)
    keys = np.array(batch.column("unit_key_hash").to_pylist(), object)
    firsts = _numbers(batch.column("first_row"))
    parts = {name: TensorColumn(batch, role, name, dtype) for name, dtype in dtypes.items()}
    present, is_in_rows = np.ones((2, batch.num_rows), bool)
    cuts = np.zeros(batch.num_rows - 1, bool)
    for part in parts.values():
        present &= part.present
        is_in_rows &= (part.dims[:, 0] == counts) | (part.ranks == 0)
        cuts |= (part.dims[1:, 1:] != part.dims[:-1, 1:]).any(axis=1) | (part.ranks[1:] != part.ranks[:-1])
    cuts |= ~(is_in_rows[1:] & is_in_rows[:-1]) | (present[1:] != present[:-1])
    edges = [0, *(np.flatnonzero(cuts) + 1).tolist(), batch.num_rows]
    for first, end in pairwise(edges):
        if not present[first]:
            continue
        if is_in_rows[first]:
            repeat = counts[first:end]
            arrays = {name: part.joined(first, end, repeat) for name, part in parts.items()}
        else:
            repeat = np.ones(1, np.int64)
            arrays = {name: part.one(first) for name, part in parts.items()}
        asked = batch.column("request_id").slice(first, end - first)
        of_rows: RawBatch = {
            "time": np.repeat(times[first:end], repeat),
            "key": np.repeat(keys[first:end], repeat),
            "group": np.repeat(np.array(asked.to_pylist(), object), repeat),
        }
        labels = None if outcomes is None else outcomes.labels(asked, repeat, firsts[first:end])
        if labels is not None:
            of_rows["label"] = labels
        yield arrays | of_rows


class TensorColumn:
    """One tensor of every request of a batch: who has it, the ``ranks`` of its shapes, and ``dims``, -1 beyond them."""

    def __init__(self, batch: pa.RecordBatch, role: str, name: str, dtype: DType) -> None:
        lists, shapes = batch.column(f"{role}.{name}"), batch.column(f"{role}_shape.{name}")
        self.present = lists.is_valid().to_numpy(zero_copy_only=False)
        self._offsets = _numbers(lists.offsets)
        self._flat = from_values(lists.values, dtype)
        self.ranks = np.diff(_numbers(shapes.offsets))
        flat, most = _numbers(shapes.flatten()), int(self.ranks.max(initial=0))
        if most and len(flat) == most * batch.num_rows:
            self.dims = flat.reshape(batch.num_rows, most)
            return
        self.dims = np.full((batch.num_rows, max(1, most)), -1, np.int64)
        filled = np.arange(self.dims.shape[1]) < self.ranks[:, np.newaxis]
        self.dims[filled] = flat

    def one(self, at: int) -> Array:
        """The tensor of one request."""
        flat = self._flat[self._offsets[at] : self._offsets[at + 1]]
        return flat.reshape(tuple(self.dims[at, : self.ranks[at]].tolist()))

    def joined(self, first: int, end: int, rows: Array) -> Array:
        """Those of neighbours of equal shape, on axis 0; a value without axes holds for each of its request's rows."""
        flat = self._flat[self._offsets[first] : self._offsets[end]]
        if not self.ranks[first]:
            return np.repeat(flat, rows)
        return flat.reshape(int(rows.sum()), *self.dims[first, 1 : self.ranks[first]].tolist())


def _numbers(column: pa.Array) -> Array:
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def from_row(batch: pa.RecordBatch, at: int, schema: pa.Schema) -> dict[str, Any]:
    """Request ``at`` of ``batch`` as plain values: its columns, and ``inputs`` and ``outputs`` as nested lists by name.

    A tensor that is not there is None. Numbers of small floats are those that they stand for.
    """
    row: dict[str, Any] = {
        name: batch.column(name)[at].as_py() for name in batch.schema.names if "." not in name and name != "arrived_at"
    }
    row["arrived_at"] = np.datetime_as_string(
        np.datetime64(batch.column("arrived_at")[at].value, "ns"), unit="us", timezone="UTC"
    )
    one = batch.slice(at, 1)
    for role in ("input", "output"):
        row[f"{role}s"] = {
            name: tensors.one(0).tolist() if (tensors := TensorColumn(one, role, name, dtype)).present[0] else None
            for name, dtype in tensors_of(schema, role).items()
        }
    return row
