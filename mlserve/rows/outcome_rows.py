"""Outcomes as people bring them: files and JSON objects with a request's id and the label that turned out to be true.

Parquet, CSV    a column each: ``request_id`` (or ``id``), ``label``, and if there are ``row`` and ``time``
JSON lines      an object each with the same names; a label may be a list, one a row of the request, null for not known
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlserve.core.refs import did_you_mean
from mlserve.core.request_ids import told_id
from mlserve.errors import InvalidInput
from mlserve.rows.csv_file import CsvTable
from mlserve.rows.json_file import objects_of
from mlserve.rows.outcome_log import NO_TIME, WHOLE, Array, Entries
from mlserve.rows.parquet_file import ParquetTable
from mlserve.rows.tables import RawBatch, Table

BATCH_ROWS = 64 * 1024
ID_NAMES = ("request_id", "id")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns are called; ``id`` None is the first of ``ID_NAMES`` that there is."""

    id: str | None = None
    label: str = "label"
    row: str = "row"
    time: str = "time"


DEFAULT_COLUMNS = Columns()


def read_outcomes(path: Path, columns: Columns = DEFAULT_COLUMNS) -> Iterator[Entries]:
    """The outcomes in the file at ``path``, some at a time; ``received`` is for who records them.

    Raises NotFound, and InvalidInput naming the row or line: for no id, no label, NaN, a row or time that is none, and
    for text among numbers.
    """
    match path.suffix.lower():
        case ".jsonl" | ".json" | ".ndjson":
            parts = from_objects(((where, value) for where, value, _ in objects_of(path)), columns)
        case ".csv":
            text = [*(ID_NAMES if columns.id is None else [columns.id]), columns.time]
            parts = _from_table(CsvTable(path, text=text), columns)
        case ".parquet":
            parts = _from_table(ParquetTable(path), columns)
        case _:
            raise InvalidInput(f"'{path}' is not a file of outcomes", hint="one of .parquet, .csv, .jsonl")
    yield from _alike(parts, f"'{path}': ")


def _alike(parts: Iterable[Entries], where: str) -> Iterator[Entries]:
    """``parts``. Raises InvalidInput where one has text and another numbers."""
    kinds: set[bool] = set()
    for entries in parts:
        if len(entries):
            kinds.add(entries.labels.dtype.kind == "O")
        if len(kinds) > 1:
            raise InvalidInput(f"{where}some labels are text and others numbers")
        yield entries


def from_objects(objects: Iterable[tuple[str, Any]], columns: Columns = DEFAULT_COLUMNS) -> Iterator[Entries]:
    """Outcomes out of JSON objects, each after where it stands, for messages. Raises InvalidInput."""
    yield from _alike(_from_objects(objects, columns), "")


def _from_objects(objects: Iterable[tuple[str, Any]], columns: Columns) -> Iterator[Entries]:
    held = _Held()
    for where, value in objects:
        if not isinstance(value, dict):
            raise InvalidInput(f"{where} is not an object with a request_id and a label")
        held.add(where, value, columns)
        if len(held.ids) >= BATCH_ROWS:
            yield held.entries()
            held = _Held()
    if held.ids:
        yield held.entries()


class _Held:
    """Outcomes of JSON objects, as columns."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._rows: list[int] = []
        self._labels: list[Any] = []
        self._times: list[int] = []
        self._is_text: bool | None = None

    def add(self, where: str, value: Mapping[str, Any], columns: Columns) -> None:
        request_id = _id_of(where, value, columns)
        row = value.get(columns.row)
        if row is not None and (isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < 1 << 62):
            raise InvalidInput(f"{where}: row is {row!r}, not a place in the request, from 0")
        time = value.get(columns.time)
        time_ns = NO_TIME if time is None else _moment(where, time)
        label = value.get(columns.label)
        if label is None:
            raise InvalidInput(f"{where} has no '{columns.label}'", hint="--label NAME says which one is the label")
        if not isinstance(label, list):
            self._append(where, request_id, WHOLE if row is None else row, label, time_ns)
            return
        if row is not None:
            raise InvalidInput(f"{where} has labels of all rows and a row")
        for number, one in enumerate(label):
            if one is not None:
                self._append(where, request_id, number, one, time_ns)

    def _append(self, where: str, request_id: str, row: int, label: Any, time_ns: int) -> None:
        is_text = isinstance(label, str)
        if not is_text and (not isinstance(label, int | float) or not isfinite(label) or not -_MAX <= label < _MAX):
            raise InvalidInput(f"{where}: the label is {label!r}, neither a finite number nor text")
        if self._is_text not in (None, is_text):
            raise InvalidInput(f"{where}: the label is {'text' if is_text else 'a number'}, others before it are not")
        self._is_text = is_text
        self.ids.append(request_id)
        self._rows.append(row)
        self._labels.append(label)
        self._times.append(time_ns)

    def entries(self) -> Entries:
        """All of them."""
        labels = np.array(self._labels, object) if self._is_text else np.array(self._labels)
        return _entries(pa.array(self.ids, pa.string()), np.array(self._rows, np.int64), labels, np.array(self._times))


_MAX = 1 << 63


def _id_of(where: str, value: Mapping[str, Any], columns: Columns) -> str:
    names = ID_NAMES if columns.id is None else (columns.id,)
    found = next((value[name] for name in names if value.get(name) is not None), None)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not found:
        raise InvalidInput(f"{where} has no '{names[0]}'", hint="the id in the reply's mlserve-request-id")
    return told_id(found)


def _from_table(table: Table, columns: Columns) -> Iterator[Entries]:
    names = ID_NAMES if columns.id is None else (columns.id,)
    id_name = next((name for name in names if name in table.columns), None)
    for name, option in ((id_name, "--id"), (columns.label, "--label")):
        if name is None or name not in table.columns:
            wanted = name or names[0]
            raise InvalidInput(
                f"'{table.path}' has no column '{wanted}'",
                hint=did_you_mean(wanted, table.columns) or f"{option} NAME says which one it is",
            )
    assert id_name is not None
    start = 0
    for raw in table.batches(BATCH_ROWS, {id_name, columns.label, columns.row, columns.time}):
        entries, rows = _of_batch(raw, id_name, columns, _Where(table.path, start))
        start += rows
        yield entries


@dataclass(frozen=True, slots=True)
class _Where:
    """The place of a batch in its file, for messages."""

    path: Path
    start: int

    def refuse(self, bad: Array, fact: str) -> None:
        """Raises InvalidInput for the first row that is ``bad``."""
        if bad.any():
            raise InvalidInput(f"'{self.path}' row {self.start + int(np.argmax(bad)) + 1}: {fact}")


def _of_batch(raw: RawBatch, id_name: str, columns: Columns, where: _Where) -> tuple[Entries, int]:
    """The outcomes of a batch, and how many rows of the file it has."""
    ids, labels = _ids(raw[id_name], where), raw[columns.label]
    count = len(ids)
    rows = _rows(raw[columns.row], where) if columns.row in raw else np.full(count, WHOLE, np.int64)
    times = _times(raw[columns.time], where) if columns.time in raw else np.full(count, NO_TIME, np.int64)
    if labels.ndim == 2:
        width = labels.shape[1]
        where.refuse(rows != WHOLE, "it has labels of all rows and a row")
        rows, times = np.tile(np.arange(width), count), np.repeat(times, width)
        ids = ids.take(pa.array(np.repeat(np.arange(count), width)))
        return _entries(ids, rows, _labels(labels.ravel(), where, width), times), count
    if labels.ndim != 1:
        where.refuse(np.ones(1, bool), "the label is a list of lists")
    return _entries(ids, rows, _labels(labels, where), times), count


def _ids(array: Array, where: _Where) -> pa.Array:
    if array.dtype.kind in "iu":
        return pa.array(array).cast(pa.string())
    if array.dtype.kind != "O" or array.ndim != 1:
        where.refuse(np.ones(1, bool), "the request id is missing, or no text")
    flat = array.tolist()
    where.refuse(np.array([not isinstance(value, str) or not value for value in flat]), "it has no request id")
    return pa.array([told_id(value) for value in flat], pa.string())


def _rows(array: Array, where: _Where) -> Array:
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        where.refuse(np.ones(1, bool), "the row is not a place in the request, from 0")
    given = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(len(array), bool)
    values = np.where(given, array, 0)
    is_bad = (values != np.trunc(values)) | (values < 0) | (values >= 1 << 62)
    where.refuse(is_bad, "the row is not a place in the request, from 0")
    return np.where(given, values, WHOLE).astype(np.int64)


def _labels(array: Array, where: _Where, width: int = 1) -> Array:
    """Labels without a null among them; ``width`` are of one row of the file."""

    def refuse(bad: Array, fact: str) -> None:
        where.refuse(bad.reshape(-1, width).any(axis=1), fact)

    if array.dtype.kind == "O":
        values = array.tolist()
        refuse(np.array([value is None for value in values], bool), "it has no label")
        kinds = {type(value) for value in values}
        if kinds <= {bool}:
            return np.array(values, bool)
        refuse(np.array([not isinstance(value, str) for value in values]), "the label is neither a number nor text")
        return array
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind == "f":
        refuse(~np.isfinite(array), "it has no label, or one that is no finite number")
        return array.astype(np.float64)
    if array.dtype.kind not in "iu":
        refuse(np.ones(len(array), bool), "the label is neither a number nor text")
    refuse(array.astype(np.float64) >= float(_MAX), "the label does not fit 64 bits")
    return array.astype(np.int64)


def _times(array: Array, where: _Where) -> Array:
    if array.dtype.kind == "M":
        stamps: Array = array.astype("datetime64[ns]").astype(np.int64)
        return stamps  # no time is the least integer there too
    flat = array.tolist()
    return np.array(
        [
            NO_TIME if value is None or value != value else _moment(f"'{where.path}' row {where.start + at + 1}", value)
            for at, value in enumerate(flat)
        ],
        np.int64,
    )


def _moment(where: str, value: Any) -> int:
    """Nanoseconds since 1970 of ISO 8601 (UTC unless it says otherwise), or of such seconds."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if not isinstance(value, bool):
            return int(np.int64(round(float(value) * 1e9)))
    except (ValueError, TypeError, OverflowError):
        pass
    raise InvalidInput(f"{where}: the time is {value!r}, not ISO 8601 such as 2026-11-27T12:00:00Z")


def _entries(ids: pa.Array, rows: Array, labels: Array, times: Array) -> Entries:
    return Entries(ids, rows, labels, times.astype(np.int64), np.zeros(len(rows), np.int64))
