"""Which requests a capture holds: of each its rows and its arrival, by a hash of its id.

A file that is finished is read once; what was found lies beside the outcomes, a small file each, and is mapped into
memory after that. Of a file that is being written only what has come since is read.

    CAPTURE/fraud/outcomes/known/….mlcap.67108864-1764222136000000000.npy
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.core.files import replacing
from mlserve.errors import InvalidInput, NotFound
from mlserve.rows.capture_file import files_of, open_file
from mlserve.rows.capture_format import OPEN_SUFFIX, PARQUET_SUFFIX, Kind
from mlserve.rows.frames import Frames
from mlserve.rows.outcome_log import FOLDER
from mlserve.rows.tables import Array
from mlserve.rows.text_hashes import hashes_of

KNOWN = "known"
_COLUMNS = ["request_id", "arrived_at", "rows", "first_row"]
_NEVER = np.iinfo(np.int64).max


@dataclass(slots=True)
class Held:
    """Requests sorted by ``hashes`` of their ids, (n,) uint64: how many ``rows`` each has, and when it ``arrived``, in
    nanoseconds since 1970."""

    hashes: Array
    rows: Array
    arrived: Array


class KnownRequests:
    """The requests of the capture in ``folder``, which is of one model; call ``refresh`` before asking.

    Ids are told apart by 64-bit hashes: once in 10^19 an unknown one counts as known.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache = folder / FOLDER / KNOWN
        self._finished: dict[str, Held] = {}
        self._growing: dict[Path, _Growing] = {}

    def refresh(self) -> None:
        """Take in what has been captured since, and forget what has been removed."""
        for _ in range(3):
            try:
                return self._look()
            except FileNotFoundError:
                continue  # compacted, sealed or removed while it was read
        return self._look()

    def find(self, ids: pa.Array) -> tuple[Array, Array]:
        """Of each id how many rows its request has, 0 for one that is not known, and when it arrived, in nanoseconds.

        Of requests that share an id the largest number, and the first arrival.
        """
        wanted = hashes_of(ids)
        rows, arrived = np.zeros(len(wanted), np.int64), np.full(len(wanted), _NEVER)
        for held in (*self._finished.values(), *(one.held for one in self._growing.values())):
            if not len(held.hashes):
                continue
            at = np.searchsorted(held.hashes, wanted)
            at[at == len(held.hashes)] = 0
            is_there = held.hashes[at] == wanted
            at = at[is_there]
            rows[is_there] = np.maximum(rows[is_there], held.rows[at])
            arrived[is_there] = np.minimum(arrived[is_there], held.arrived[at])
        return rows, arrived

    def _look(self) -> None:
        try:
            paths = files_of(self._folder)
        except NotFound:  # outcomes may come before the first request
            paths = []
        finished: dict[str, Held] = {}
        growing: dict[Path, _Growing] = {}
        for path in paths:
            if path.name.endswith(OPEN_SUFFIX):
                growing[path] = self._growing.get(path) or _Growing(path)
                growing[path].read_on()
                continue
            name = self._name(path)
            finished[name] = self._finished.get(name) or self._held(path, name)
        self._finished, self._growing = finished, growing
        with suppress(OSError):
            for stale in self._cache.iterdir():
                if stale.name not in finished and not stale.name.startswith("."):
                    stale.unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        found = path.stat()
        relative = str(path.relative_to(self._folder)).replace("/", "+")
        return f"{relative}.{found.st_size}-{found.st_mtime_ns}.npy"

    def _held(self, path: Path, name: str) -> Held:
        kept = self._cache / name
        with suppress(OSError, ValueError, EOFError):
            return _unpacked(np.load(kept, mmap_mode="r"))
        held = _sorted([_held_of(batch) for batch in _batches(path)])
        with suppress(OSError, InvalidInput):  # a folder that only others may write to costs time, and no more
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replacing(kept) as partial:
                partial.touch(mode=0o600)
                with partial.open("wb") as file:
                    np.save(file, np.stack([held.hashes, held.rows.view(np.uint64), held.arrived.view(np.uint64)]))
            return _unpacked(np.load(kept, mmap_mode="r"))
        return held


class _Growing:
    """A segment that some server writes, read as far as it goes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema: pa.Schema | None = None
        self._end = self._frames = 0
        self.held = _sorted([])

    def read_on(self) -> None:
        found: list[Held] = []
        with self._path.open("rb") as file:
            frames = Frames(file, self._end, self._frames)
            for frame in frames:
                if frame.kind == Kind.SCHEMA:
                    self._schema = pa.ipc.read_schema(pa.py_buffer(frame.payload))
                elif frame.kind == Kind.ROWS and self._schema is not None:
                    found.append(_held_of(pa.ipc.read_record_batch(pa.py_buffer(frame.payload), self._schema)))
        self._end, self._frames = frames.end, frames.number
        if found:
            self.held = _sorted([self.held, *found])


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    if not path.name.endswith(PARQUET_SUFFIX):
        file = open_file(path)
        yield from file.batches() if file is not None else ()
        return
    try:
        with pq.ParquetFile(path, pre_buffer=False) as table:
            yield from table.iter_batches(columns=_COLUMNS, use_threads=False)
    except pa.ArrowException as error:
        raise InvalidInput(f"'{path}' cannot be read: {next(iter(str(error).splitlines()), error)}") from error


def _held_of(batch: pa.RecordBatch) -> Held:
    rows = batch.column("first_row").to_numpy() + batch.column("rows").to_numpy()
    return Held(hashes_of(batch.column("request_id")), rows, batch.column("arrived_at").view(pa.int64()).to_numpy())


def _sorted(parts: list[Held]) -> Held:
    """All of ``parts``, one entry a hash."""
    if not parts:
        none = np.empty(0, np.int64)
        return Held(none.astype(np.uint64), none, none)
    hashes, rows, arrived = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("hashes", "rows", "arrived")
    )
    if not len(hashes):
        return Held(hashes, rows, arrived)
    order = np.argsort(hashes)
    hashes, rows, arrived = hashes[order], rows[order], arrived[order]
    firsts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    return Held(hashes[firsts], np.maximum.reduceat(rows, firsts), np.minimum.reduceat(arrived, firsts))


def _unpacked(kept: Array) -> Held:
    if kept.ndim != 2 or kept.shape[0] != 3 or kept.dtype != np.uint64:
        raise ValueError(f"an array of {kept.dtype}{kept.shape}")
    return Held(kept[0], kept[1].view(np.int64), kept[2].view(np.int64))
