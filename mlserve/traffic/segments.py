"""One segment of a capture being written, and the folder that it lies in.

    DIR/fraud/20261127T054216.123456-7f3a9c-0.mlcap.open  ──seal: end frame, fsync, rename──►  ….mlcap

Each process writes segments of its own, one at a time for each version that answers. While one is open its file is
locked, so that others can tell a segment that still grows from what a killed process left behind. Folder and files are
for their owner alone: they hold what users sent.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from mlserve.rows.capture_file import files_of
from mlserve.rows.capture_format import OPEN_SUFFIX, SEALED_SUFFIX, End, Header, Kind
from mlserve.rows.frames import append_frame


class Segment:
    """A segment that grows. Raises OSError where the disk does not take it, with nothing half-written left in it."""

    def __init__(self, folder: Path, header: Header, schema: pa.Schema, number: int, now: datetime) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.opened_at = now
        self.header = header
        self.schema = schema
        self.requests = self.rows = self.dropped = 0
        self.size_bytes = 0
        self._frames = 0
        self._path = folder / f"{now:%Y%m%dT%H%M%S.%f}-{header.server}-{number}{OPEN_SUFFIX}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._append(Kind.HEADER, msgspec.json.encode(header))
            self._append(Kind.SCHEMA, schema.serialize())
        except OSError:
            os.close(self._fd)
            self._path.unlink(missing_ok=True)
            raise

    @property
    def is_empty(self) -> bool:
        return not self.requests

    def append(self, batch: pa.RecordBatch, rows: int) -> None:
        """Write ``batch``, in which the requests have ``rows`` rows."""
        self._append(Kind.ROWS, batch.serialize())
        self.requests += batch.num_rows
        self.rows += rows

    def sync(self) -> None:
        """Have the disk hold what was written, also if the machine loses power."""
        os.fdatasync(self._fd)

    def seal(self) -> Path:
        """Say that it is whole, and name it so; the path. An empty one is removed."""
        sealed = self._path.with_name(self._path.name.removesuffix(OPEN_SUFFIX) + SEALED_SUFFIX)
        try:
            if self.is_empty:
                self._path.unlink(missing_ok=True)
                return sealed
            self._append(
                Kind.END, msgspec.json.encode(End(rows=self.rows, requests=self.requests, dropped=self.dropped))
            )
            os.fsync(self._fd)
            self._path.rename(sealed)
            return sealed
        finally:
            os.close(self._fd)

    def abandon(self) -> None:
        """Let go of it as it is: what is whole in it is read all the same."""
        with suppress(OSError):
            os.close(self._fd)

    def _append(self, kind: Kind, payload: bytes | memoryview | pa.Buffer) -> None:
        self.size_bytes += append_frame(self._fd, self.size_bytes, kind, self._frames, memoryview(payload))
        self._frames += 1


def is_growing(path: Path) -> bool:
    """Whether some process still writes the segment at ``path``."""
    if not path.name.endswith(OPEN_SUFFIX):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def oldest_sealed(folder: Path) -> Iterator[tuple[Path, int]]:
    """Sealed segments with their sizes in bytes, oldest first."""
    for path in files_of(folder):
        if path.name.endswith(SEALED_SUFFIX):
            with suppress(OSError):
                yield path, path.stat().st_size
