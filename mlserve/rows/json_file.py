"""``.jsonl`` and ``.json``: an object per row, or Open Inference Protocol requests.

``.jsonl`` is read line by line; ``.json`` is one document (a list of rows, a single row, or a request) and is read
whole, unless its first line is a row by itself and more follow.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from mlserve.errors import InvalidInput
from mlserve.rows.requests import is_request, read_request
from mlserve.rows.tables import RawBatch, align, require_content
from mlserve.rows.value_columns import runs_of

MAX_LINE_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 256 << 20

_CHUNK_BYTES = 16 << 20

Line = tuple[str, Any, int]
"""Where an object stands, for messages; the object; and the bytes of its text, 0 where all is in memory anyway."""


def objects_of(path: Path) -> Iterator[Line]:
    """The objects of a JSON or JSON Lines file, in order, whatever they hold. Raises NotFound, InvalidInput."""
    require_content(path)
    if path.suffix.lower() == ".json" and not _is_lines(path):
        yield from _numbered(path, _read_document(path))
    else:
        yield from _read_lines(path)


class JsonTable:
    """The rows of a JSON or JSON Lines file; the first row says which columns there are.

    Raises NotFound, InvalidInput when opened.
    """

    features_as_columns = True

    def __init__(self, path: Path) -> None:
        require_content(path)
        self.path = path
        self._document: list[Any] | None = None
        if path.suffix.lower() == ".json" and not _is_lines(path):
            self._document = _read_document(path)
        first = next(iter(self._objects()), None)
        self._requests = first is not None and is_request(first[1])
        self.columns = self._columns_of(first)

    @property
    def total_rows(self) -> int | None:
        return None if self._requests or self._document is None else len(self._document)

    def batches(self, rows: int, only: Collection[str] | None = None) -> Iterator[RawBatch]:
        if self._requests:
            yield from self._requested(rows, only)
            return
        start = 0
        for objects in self._chunks(rows):
            if only is None:
                self._refuse_strangers(objects)
            names = [name for name in self.columns if only is None or name in only]
            columns = {name: runs_of(self._values(objects, name), self._complain(name, start)) for name in names}
            start += len(objects)
            yield from align(columns)

    def _objects(self) -> Iterator[Line]:
        if self._document is None:
            yield from _read_lines(self.path)
        else:
            yield from _numbered(self.path, self._document)

    def _columns_of(self, first: Line | None) -> tuple[str, ...]:
        if first is None:
            return ()
        where, value, _ = first
        names = read_request(value, where) if self._requests else _require_object(where, value)
        return tuple(names)

    def _chunks(self, rows: int) -> Iterator[list[Line]]:
        """Objects, at most ``rows`` at a time, and fewer where they are long."""
        chunk: list[Line] = []
        held_bytes = 0
        for where, value, size_bytes in self._objects():
            chunk.append((where, _require_object(where, value), size_bytes))
            held_bytes += size_bytes
            if len(chunk) == rows or held_bytes >= _CHUNK_BYTES:
                yield chunk
                chunk, held_bytes = [], 0
        if chunk:
            yield chunk

    def _requested(self, rows: int, only: Collection[str] | None) -> Iterator[RawBatch]:
        for where, value, _ in self._objects():
            if not is_request(value):
                raise InvalidInput(f"{where} is not an inference request, as the one before it is")
            batch = read_request(value, where)
            if only is None and (strange := next((n for n in batch if n not in self.columns), None)) is not None:
                raise InvalidInput(f"{where} has an input '{strange}', which the first request has not")
            if missing := next((n for n in self.columns if n not in batch and (only is None or n in only)), None):
                raise InvalidInput(f"{where} has no input '{missing}'")
            kept = {name: array for name, array in batch.items() if only is None or name in only}
            yield from _sliced(kept, rows)

    def _refuse_strangers(self, objects: Iterable[Line]) -> None:
        known = set(self.columns)
        for where, value, _ in objects:
            if strange := value.keys() - known:
                raise InvalidInput(
                    f"{where} has '{min(strange)}', which the first row has not", hint="--ignore-extra leaves it out"
                )

    def _values(self, objects: Iterable[Line], name: str) -> list[Any]:
        values = []
        for where, value, _ in objects:
            if name not in value:
                raise InvalidInput(f"{where} has no '{name}'")
            values.append(value[name])
        return values

    def _complain(self, name: str, start: int) -> Any:
        return lambda row, fact: InvalidInput(f"'{self.path}' row {start + row + 1}, column '{name}': {fact}")


def _sliced(batch: RawBatch, rows: int) -> Iterator[RawBatch]:
    """``batch`` in pieces of ``rows``, or as it stands where its arrays are not equally long."""
    lengths = {len(array) for array in batch.values() if array.ndim}
    if len(lengths) != 1:
        yield batch
        return
    for start in range(0, lengths.pop(), rows):
        yield {name: array[start : start + rows] if array.ndim else array for name, array in batch.items()}


def _require_object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is not an object with a value per column")
    return value


def _numbered(path: Path, document: list[Any]) -> Iterator[Line]:
    return ((f"'{path}' row {i}", value, 0) for i, value in enumerate(document, start=1))


def _is_lines(path: Path) -> bool:
    """Whether a ``.json`` file is JSON Lines by another name: its first line is a whole object, and more follow."""
    with path.open("rb") as file:
        first = file.readline(MAX_LINE_BYTES)
        try:
            return isinstance(_decode(first), dict) and bool(file.readline(2).strip())
        except ValueError:
            return False


def _read_document(path: Path) -> list[Any]:
    size = path.stat().st_size
    if size > MAX_DOCUMENT_BYTES:
        raise InvalidInput(
            f"'{path}' has {size} bytes; a .json file is read whole, so it may have {MAX_DOCUMENT_BYTES}",
            hint="write an object per line to a .jsonl file, which is streamed",
        )
    try:
        document = _decode(path.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"'{path}' is not JSON: {error}") from error
    return document if isinstance(document, list) else [document]


def _read_lines(path: Path) -> Iterator[Line]:
    number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"'{path}' line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise InvalidInput(f"{where} is longer than {MAX_LINE_BYTES} bytes")
            if line.isspace():
                continue
            try:
                yield where, _decode(line), len(line)
            except ValueError as error:
                raise InvalidInput(f"{where} is not JSON: {error}") from error


def _decode(text: bytes) -> Any:
    """The JSON value of ``text``; NaN and Infinity are read where they stand as bare tokens, as Python writes them.

    Raises ValueError.
    """
    try:
        return orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        if b"NaN" not in text and b"Infinity" not in text:
            raise
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
