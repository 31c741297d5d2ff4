"""The captured requests of one model, streamed in bounded memory: file after file, or as streams to be merged by time.

A capture may grow while it is read, and be sealed or added to before a reading that was interrupted goes on: what is
read is what lay there when it was listed.

    files ─► record batches ─gathered─► blocks of some thousand requests, no run cut in two ─► ``CapturedBatch``
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.core.dtypes import DType
from mlserve.errors import Conflict, InvalidInput
from mlserve.rows.capture_file import CaptureFile, digest_of, files_of, open_file
from mlserve.rows.capture_format import OPEN_SUFFIX, PARQUET_SUFFIX, SEALED_SUFFIX, tensors_of
from mlserve.rows.captured import EVERYTHING, CapturedBatch, Origin, Window, captured_batches

GATHER_REQUESTS = 16_384
"""Comparing costs a millisecond a block whatever its size, so that small blocks of small rows are mostly that."""

GATHER_BYTES = 4 << 20
"""Large rows mostly take long to answer, and a replay is interrupted between blocks."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a capture, by its name below the capture, and as much of it as is read."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A part of a capture that was written by one process, mostly in the order of arrival, from ``first_ns`` on."""

    number: int
    first_ns: int
    file: CaptureFile
    limit_bytes: int | None
    group: int | None


class Captured:
    """The captured requests at ``path``, a folder or a file of one, all of one model.

    ``listed`` is what an earlier reading listed, whose files must still be there. Raises NotFound; InvalidInput for a
    folder with several models, or with none; Conflict where ``listed`` is not there any more.
    """

    def __init__(self, path: Path, listed: Sequence[Listed] | None = None) -> None:
        self.path = path
        self.listed = tuple(_listed(path) if listed is None else listed)
        self._files = [_opened(path, one, must_be_whole=listed is not None) for one in self.listed]
        known = [file for file in self._files if file is not None]
        if not known:
            raise InvalidInput(f"'{path}' has no captured requests")
        models = sorted({file.header.model for file in known})
        if len(models) > 1:
            raise InvalidInput(f"'{path}' has captures of {', '.join(models)}", hint=f"'{path / models[0]}' is of one")
        self.model = models[0]
        self._known = known

    @property
    def versions(self) -> dict[int, str | None]:
        """The versions that answered, with their digests."""
        return {file.header.version: file.header.digest for file in self._known}

    @property
    def is_redacted(self) -> bool:
        """Whether a policy changed what was written, so that inputs may not be what was answered."""
        return any(file.header.redaction is not None for file in self._known)

    @property
    def size_bytes(self) -> int:
        return sum(one.size_bytes for one in self.listed)

    def tensors(self, role: str) -> dict[str, DType]:
        """The tensors that any file has for ``role``, "input" or "output", by name."""
        found: dict[str, DType] = {}
        for file in self._known:
            found |= tensors_of(file.schema, role)
        return found

    def digest(self) -> str:
        """The sha256 address of what is there; of a folder in which a server still writes, of what was listed.

        The first is what every other command gives for the capture.
        """
        if any(one.name.endswith(OPEN_SUFFIX) for one in self.listed):
            return digest_bytes(canonical_json([asdict(one) for one in self.listed]))
        return digest_of(self.path)

    def batches(self, window: Window = EVERYTHING, start: tuple[int, int] = (0, 0)) -> Iterator[CapturedBatch]:
        """All that is listed, file after file; from the ``place`` of an earlier batch on, as it went on then."""
        for number in range(start[0], len(self._files)):
            file = self._files[number]
            if file is not None:
                skip = start[1] if number == start[0] else 0
                limit = self.listed[number].size_bytes
                yield from _batches_of(file, number, window, skip, limit_bytes=limit)

    def streams(self) -> list[Stream]:
        """Parts to merge by the time of arrival, of which few overlap: segments, and row groups of Parquet files."""
        found: list[Stream] = []
        for listed, file in zip(self.listed, self._files, strict=True):
            if file is None:
                continue
            if file.path.name.endswith(PARQUET_SUFFIX):
                starts = _group_starts(file.path)
                found += [Stream(len(found) + at, first, file, None, at) for at, first in enumerate(starts)]
                continue
            first_batch = next(file.batches(limit_bytes=listed.size_bytes), None)
            if first_batch is not None and first_batch.num_rows:
                first_ns = int(np.min(first_batch.column("arrived_at").cast(pa.int64()).to_numpy()))
                found.append(Stream(len(found), first_ns, file, listed.size_bytes, None))
        return found

    def read(self, stream: Stream, window: Window = EVERYTHING) -> Iterator[CapturedBatch]:
        """All of ``stream``."""
        yield from _batches_of(
            stream.file, stream.number, window, 0, limit_bytes=stream.limit_bytes, group=stream.group
        )


def _batches_of(
    file: CaptureFile, number: int, window: Window, skip: int, *, limit_bytes: int | None, group: int | None = None
) -> Iterator[CapturedBatch]:
    header = file.header
    origin = Origin(header.version, header.digest, header.server)
    place = skip
    is_cut = file.path.name.endswith(PARQUET_SUFFIX)
    for block in _gathered(_skipped(file.batches(limit_bytes=limit_bytes, group=group), skip), is_cut=is_cut):
        place += block.num_rows
        *before, last = captured_batches(block, origin, window)
        yield from before
        yield replace(last, place=(number, place))


def _skipped(batches: Iterator[pa.RecordBatch], requests: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if requests >= batch.num_rows:
            requests -= batch.num_rows
            continue
        yield batch.slice(requests) if requests else batch
        requests = 0


def _gathered(batches: Iterator[pa.RecordBatch], *, is_cut: bool) -> Iterator[pa.RecordBatch]:
    """Record batches joined to a useful size; where they were cut anywhere, as Parquet's are, the last run of one waits
    for what may still belong to it."""
    held: list[pa.RecordBatch] = []
    requests = size_bytes = 0
    for batch in batches:
        held.append(batch)
        requests += batch.num_rows
        size_bytes += batch.nbytes
        if requests < GATHER_REQUESTS and size_bytes < GATHER_BYTES:
            continue
        block = _joined(held)
        end = _last_run(block) if is_cut else block.num_rows
        if end:
            yield block.slice(0, end)
        held = [block.slice(end)] if end < block.num_rows else []
        requests, size_bytes = sum(one.num_rows for one in held), sum(one.nbytes for one in held)
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _last_run(block: pa.RecordBatch) -> int:
    """Where the last run of ``block`` begins; its end for one without a run, 0 where it is one run."""
    batch_id = block.column("batch_id").to_numpy()
    if not len(batch_id) or batch_id[-1] < 0:
        return len(batch_id)
    others = np.flatnonzero(batch_id != batch_id[-1])
    return int(others[-1]) + 1 if len(others) else 0


def _listed(path: Path) -> list[Listed]:
    files = files_of(path)
    base = path if path.is_dir() else path.parent
    return [Listed(str(file.relative_to(base)), file.stat().st_size) for file in files]


def _opened(path: Path, listed: Listed, *, must_be_whole: bool) -> CaptureFile | None:
    base = path if path.is_dir() else path.parent
    file = base / listed.name
    if not file.exists() and listed.name.endswith(OPEN_SUFFIX):
        file = base / (listed.name.removesuffix(OPEN_SUFFIX) + SEALED_SUFFIX)
    if must_be_whole and (not file.exists() or file.stat().st_size < listed.size_bytes):
        raise Conflict(f"'{base / listed.name}' is not there any more as it was read", hint="begin again, no --resume")
    return open_file(file)


def _group_starts(path: Path) -> list[int]:
    """When the first request of each row group arrived."""
    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.names.index("arrived_at")
        return [_first_ns(file, group, file.metadata.row_group(group), column) for group in range(file.num_row_groups)]


def _first_ns(file: Any, group: int, metadata: Any, column: int) -> int:
    # Columns of lists come later: the place in the schema is the place among the leaves.
    statistics = metadata.column(column).statistics
    if statistics is not None and statistics.has_min_max:
        minimum = statistics.min
        return int(np.datetime64(minimum.replace(tzinfo=None), "ns").astype(np.int64))
    table = file.read_row_group(group, columns=["arrived_at"])
    return int(table.column("arrived_at").cast(pa.int64()).to_numpy().min())
