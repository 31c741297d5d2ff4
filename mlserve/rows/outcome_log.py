"""What became of requests, as it lies on disk: a log a model beside its capture, only ever appended to.

    CAPTURE/fraud/outcomes/outcomes.mlout       frames: a header (JSON), then batches, each an Arrow IPC stream

    request_id   string                         row          int64, null where the label is the whole request's
    label        bool, int64, double or string  time         when the truth became known, null where nobody said
    received_at  when it was recorded

A correction is a later entry; the last one of a request and row holds. A crash leaves whole frames and at most one
broken end, which the next writer cuts off.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from mlserve.errors import InvalidInput, Unsupported
from mlserve.rows.frames import Frames

SCHEMA_ID = "mlserve.outcomes/1"
"""Grows with each change that a reader must know of; readers take every one up to their own."""

FOLDER = "outcomes"
LOG = "outcomes.mlout"

HEADER = 1
BATCH = 2

WHOLE = -1
"""The row of a label that is its whole request's."""

NO_TIME = np.iinfo(np.int64).min

Array = np.ndarray[Any, np.dtype[Any]]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of a log."""

    schema: str = SCHEMA_ID
    model: str
    tool: str = ""


class Entries(msgspec.Struct):
    """Labels of requests: row i of every field is one. ``ids`` are strings; ``rows`` int64, ``WHOLE`` where it is all;
    ``labels`` bool, int64, float64 or ``str`` objects; ``times`` nanoseconds since 1970 or ``NO_TIME``; ``received`` in
    such nanoseconds too, in no order that matters.
    """

    ids: pa.Array
    rows: Array
    labels: Array
    times: Array
    received: Array

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Array) -> Entries:
        """Those at ``index``, in its order."""
        return Entries(
            self.ids.take(pa.array(index)),
            self.rows[index],
            self.labels[index],
            self.times[index],
            self.received[index],
        )


def logs_of(capture: Path) -> list[Path]:
    """The logs beside ``capture``: below a folder of captures, or of the model that a folder or file of one is of."""
    if capture.is_dir():
        found = sorted(path for path in capture.rglob(LOG) if path.parent.name == FOLDER)
        if found:
            return found
    above = [path / FOLDER / LOG for path in (capture.parent, capture.parent.parent)]
    is_hour = capture.name.startswith("hour=") or capture.parent.name.startswith("hour=")
    if capture.is_dir() and not is_hour:
        return []
    return [path for path in above if path.is_file()][:1]


def log_in(folder: Path) -> Path:
    """The log of the model whose capture is in ``folder``, whether it is there or not."""
    return folder / FOLDER / LOG


def read_header(path: Path) -> Header | None:
    """What the log at ``path`` says of itself; None where not even that is whole. Raises InvalidInput, Unsupported."""
    with path.open("rb") as file:
        first = next(iter(Frames(file)), None)
    if first is None or first.kind != HEADER:
        return None
    try:
        header = msgspec.json.decode(first.payload, type=Header)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"'{path}' holds no outcomes: {error}") from error
    family, _, number = header.schema.rpartition("/")
    if family != SCHEMA_ID.rpartition("/")[0] or not number.isdecimal():
        raise InvalidInput(f"'{path}' holds no outcomes: it is a '{header.schema}'")
    if int(number) > int(SCHEMA_ID.rpartition("/")[2]):
        raise Unsupported(f"'{path}' was written by a newer mlserve, as {header.schema}", hint="upgrade mlserve")
    return header


def packed(entries: Entries) -> pa.Buffer:
    """The payload of a frame with ``entries``."""
    rows = pa.array(entries.rows, pa.int64(), mask=entries.rows == WHOLE)
    times = pa.array(entries.times, pa.int64(), mask=entries.times == NO_TIME)
    stamp = pa.timestamp("ns", tz="UTC")
    batch = pa.RecordBatch.from_arrays(
        [entries.ids, rows, pa.array(entries.labels), times.view(stamp), pa.array(entries.received).view(stamp)],
        ["request_id", "row", "label", "time", "received_at"],
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def unpacked(payload: bytes) -> Iterator[Entries]:
    """The entries of a frame."""
    with pa.ipc.open_stream(payload) as stream:
        for batch in stream:
            yield Entries(
                batch.column("request_id"),
                batch.column("row").fill_null(WHOLE).to_numpy(),
                labels_of(batch.column("label")),
                batch.column("time").view(pa.int64()).fill_null(NO_TIME).to_numpy(),
                batch.column("received_at").view(pa.int64()).to_numpy(),
            )


def labels_of(column: pa.Array) -> Array:
    """A column of labels as numpy has them; equal texts share one object."""
    if pa.types.is_string(column.type):
        known = column.dictionary_encode()
        texts: Array = np.array(known.dictionary.to_pylist(), object)[known.indices.to_numpy()]
        return texts
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def empty() -> Entries:
    """None at all."""
    none = np.empty(0, np.int64)
    return Entries(pa.array([], pa.string()), none, np.empty(0, bool), none, none)


def join(parts: list[Entries]) -> Entries:
    """All of ``parts``. Raises InvalidInput where some labels are text and others numbers."""
    if not parts:
        return empty()
    return Entries(
        pa.concat_arrays([part.ids for part in parts]),
        np.concatenate([part.rows for part in parts]),
        joined_labels([part.labels for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.received for part in parts]),
    )


def joined_labels(parts: list[Array]) -> Array:
    """Labels of one type that holds all of them: truth values count as 0 and 1 among numbers."""
    parts = [part for part in parts if len(part)] or parts[:1]
    if len({part.dtype.kind == "O" for part in parts}) > 1:
        raise InvalidInput("some labels are text and others numbers")
    return np.concatenate(parts)
