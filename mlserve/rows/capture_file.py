"""A capture as it lies on disk: segments being written, sealed ones, and Parquet files made of them.

Everything that is whole is read, up to the first frame that is not: of what a killed server was writing, all but its
last moments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlserve.core.digests import canonical_json, digest_bytes, digest_file
from mlserve.core.dtypes import DType
from mlserve.core.files import replacing
from mlserve.core.refs import Stage
from mlserve.errors import InvalidInput, NotFound, Unsupported
from mlserve.rows.capture_format import (
    OPEN_SUFFIX,
    PARQUET_SUFFIX,
    SCHEMA_ID,
    SEALED_SUFFIX,
    Header,
    Kind,
    from_values,
    tensors_of,
)
from mlserve.rows.frames import Frames
from mlserve.rows.outcome_log import logs_of
from mlserve.rows.outcomes import Outcomes
from mlserve.rows.tables import Array, RawBatch

JOURNAL = ".compacting.json"
SUFFIXES = (SEALED_SUFFIX, OPEN_SUFFIX, PARQUET_SUFFIX)
_CAPTURE = b"mlserve.capture"
_PARQUET_ROWS = 8192


def files_of(path: Path) -> list[Path]:
    """The files of the capture at ``path``, a folder or a file of one, oldest first. Raises NotFound."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFound(f"no capture '{path}'")
    found = {file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file()}
    found = {file for file in found if not file.name.startswith(".")}  # what is being made
    for file in path.rglob(JOURNAL):
        journal = read_journal(file)
        if journal is not None:
            found -= {file.parent / name for name in journal.sources}
            found |= {hidden for one, _ in journal.made if (hidden := file.parent / one).is_file()}
    return sorted(found, key=lambda file: (file.name.lstrip("."), str(file)))


class Journal(msgspec.Struct):
    """A compaction of one folder that has all it makes: ``sources`` may go, each of ``made`` gets its second name."""

    sources: list[str]
    made: list[list[str]]


def read_journal(path: Path) -> Journal | None:
    """The journal at ``path``; None where it is gone again, or was never finished."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Journal)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write_journal(folder: Path, journal: Journal) -> None:
    """Have it on disk, whole. Raises InvalidInput where that cannot be."""
    with replacing(folder / JOURNAL) as partial:
        partial.write_bytes(msgspec.json.encode(journal))


def digest_of(path: Path, *, with_outcomes: bool = False) -> str:
    """The sha256 address of a capture: of its files' names and addresses, or of the one file; with its outcomes too."""
    if path.is_file():
        files = digest_file(path)
    else:
        files = digest_bytes(
            canonical_json([[str(file.relative_to(path)), digest_file(file)] for file in files_of(path)])
        )
    if not with_outcomes:
        return files
    return digest_bytes(canonical_json([files, *[digest_file(log) for log in logs_of(path)]]))


@dataclass(slots=True)
class CaptureFile:
    """A segment or a Parquet file of a capture. Raises InvalidInput for one that is none, Unsupported for a newer one.

    ``batches`` may be called again and again. After one went to its end, ``is_sealed`` says whether the file was
    finished, and ``damaged_bytes`` how much behind its last whole frame could not be read.
    """

    path: Path
    header: Header
    schema: pa.Schema
    is_sealed: bool = False
    damaged_bytes: int = 0

    def batches(self, *, limit_bytes: int | None = None, group: int | None = None) -> Iterator[pa.RecordBatch]:
        """The record batches, in the order they were written, one in memory at a time.

        Of a segment, those in its first ``limit_bytes``; of a Parquet file, those of one row ``group``.
        """
        if self.path.name.endswith(PARQUET_SUFFIX):
            yield from self._from_parquet(group)
            return
        with self.path.open("rb") as file:
            frames = Frames(file, limit_bytes=limit_bytes)
            self.is_sealed = False
            for frame in frames:
                if frame.kind == Kind.ROWS:
                    with _reading(self.path):
                        batch = pa.ipc.read_record_batch(pa.py_buffer(frame.payload), self.schema)
                    yield batch
                self.is_sealed = frame.kind == Kind.END
            self.damaged_bytes = self.path.stat().st_size - frames.end if not self.is_sealed else 0

    def _from_parquet(self, group: int | None) -> Iterator[pa.RecordBatch]:
        self.is_sealed = True
        with _reading(self.path), pq.ParquetFile(self.path, pre_buffer=False) as file:
            groups = range(file.num_row_groups) if group is None else [group]
            for batch in file.iter_batches(_PARQUET_ROWS, row_groups=groups, use_threads=False):
                # A row group's own metadata of fields is not read back.
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)


def open_file(path: Path) -> CaptureFile | None:
    """The segment or Parquet file at ``path``; None for a segment of which not even the beginning is whole."""
    if path.name.endswith(PARQUET_SUFFIX):
        with _reading(path):
            schema = pq.read_schema(path)
        if _CAPTURE not in (schema.metadata or {}):
            raise InvalidInput(f"'{path}' is no capture: it is another Parquet file")
        return CaptureFile(path, _header(path, schema.metadata[_CAPTURE]), schema)
    header = None
    with path.open("rb") as file:
        for frame in Frames(file):
            if frame.kind == Kind.HEADER:
                header = _header(path, frame.payload)
            elif frame.kind == Kind.SCHEMA and header is not None:
                with _reading(path):
                    return CaptureFile(path, header, pa.ipc.read_schema(pa.py_buffer(frame.payload)))
            else:
                break
    return None


def _header(path: Path, content: bytes) -> Header:
    try:
        header = msgspec.json.decode(content, type=Header)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"'{path}' is no capture: {error}") from error
    family, _, number = header.schema.rpartition("/")
    if family != SCHEMA_ID.rpartition("/")[0] or not number.isdecimal():
        raise InvalidInput(f"'{path}' is no capture: it is a '{header.schema}'")
    if int(number) > int(SCHEMA_ID.rpartition("/")[2]):
        raise Unsupported(f"'{path}' was written by a newer mlserve, as {header.schema}", hint="upgrade mlserve")
    return header


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"'{path}' cannot be read: {next(iter(str(error).splitlines()), error)}") from error


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
