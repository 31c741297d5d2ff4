"""A capture as it lies on disk: segments being written, sealed ones, and Parquet files made of them.

Everything that is whole is read, up to the first frame that is not: of what a killed server was writing, all but its
last moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.core.digests import canonical_json, digest_bytes, digest_file
from mlserve.core.files import replacing
from mlserve.errors import InvalidInput, NotFound, Unsupported
from mlserve.rows.capture_format import (
    OPEN_SUFFIX,
    PARQUET_SUFFIX,
    SCHEMA_ID,
    SEALED_SUFFIX,
    Header,
    Kind,
)
from mlserve.rows.frames import Frames
from mlserve.rows.outcome_log import logs_of

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
