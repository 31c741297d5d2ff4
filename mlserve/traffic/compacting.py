"""Segments become Parquet: sealed ones, by model and hour, compressed with zstd.

    DIR/fraud/…-0.mlcap ┐                        DIR/fraud/hour=2026-11-27T05/….parquet
    DIR/fraud/…-1.mlcap ┴── hidden files ─ journal ─ renames ─► the segments go ─► the journal goes

The journal is written when every new file is whole and on disk, so a crash at any moment leaves the segments, or a
journal from which the rest is done the next time. Readers that meet one take the new files and not the segments.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.core.files import sync
from mlserve.core.progress import Progress, silent
from mlserve.errors import InvalidInput
from mlserve.rows.capture_file import JOURNAL, Journal, files_of, open_file, read_journal, write_journal
from mlserve.rows.capture_format import PARQUET_SUFFIX, SEALED_SUFFIX
from mlserve.traffic.segments import is_growing

GROUP_ROWS = 64 * 1024
GROUP_BYTES = 64 << 20


@dataclass(slots=True)
class Compacted:
    """What was done: so many segments became so many files, bytes before and after; ``growing`` ones were left."""

    segments: int = 0
    files: int = 0
    requests: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    growing: int = 0


def compact(folder: Path, *, progress: Progress = silent) -> Compacted:
    """Make Parquet of every segment below ``folder`` that no server writes any more, and remove those segments.

    Raises NotFound, InvalidInput where the disk does not take it; then the segments are all still there.
    """
    done = Compacted()
    finish_journals(folder)
    by_folder: dict[Path, list[Path]] = {}
    for path in files_of(folder):
        if path.name.endswith(PARQUET_SUFFIX):
            continue
        if is_growing(path):
            done.growing += 1
        else:
            by_folder.setdefault(path.parent, []).append(path)
    total = sum(len(paths) for paths in by_folder.values())
    for parent, paths in by_folder.items():
        try:
            _compact(parent, paths, done, lambda: progress("compact", done.segments, total))
        except OSError as error:
            raise InvalidInput(f"cannot write below '{parent}': {os.strerror(error.errno or 0).lower()}") from error
    return done


def finish_journals(folder: Path) -> None:
    """Do what was left of a compaction that was cut short."""
    for path in folder.rglob(JOURNAL):
        journal = read_journal(path)
        if journal is not None:
            _finish(path.parent, journal)


def _compact(parent: Path, paths: list[Path], done: Compacted, step: Any) -> None:
    """All segments of one folder, which are of one model."""
    made: dict[tuple[Any, ...], tuple[Path, Path]] = {}
    outputs: dict[tuple[Any, ...], _Output] = {}
    requests = 0
    try:
        with ExitStack() as stack:
            for path in paths:
                file = open_file(path)
                for batch in file.batches() if file is not None else ():
                    assert file is not None
                    requests += batch.num_rows
                    for hour, part in _by_hour(batch):
                        key = hour, file.header.version, file.header.digest, file.header.share, file.header.redaction
                        if key not in outputs:
                            made[key] = _names(parent, hour, path, len(made))
                            made[key][0].parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                            outputs[key] = stack.enter_context(_Output(made[key][0], file.schema))
                        outputs[key].add(part)
                done.segments += 1
                step()
        for hidden, _ in made.values():
            sync(hidden)
    except BaseException:
        for hidden, _ in made.values():
            hidden.unlink(missing_ok=True)
        raise
    before = sum(path.stat().st_size for path in paths)
    journal = Journal(
        sources=[path.name for path in paths],
        made=[[str(hidden.relative_to(parent)), str(final.relative_to(parent))] for hidden, final in made.values()],
    )
    write_journal(parent, journal)
    _finish(parent, journal)
    done.files += len(made)
    done.requests += requests
    done.bytes_before += before
    done.bytes_after += sum(final.stat().st_size for _, final in made.values())


def _finish(parent: Path, journal: Journal) -> None:
    for hidden, final in journal.made:
        if (parent / hidden).exists():
            (parent / hidden).rename(parent / final)
    for name in journal.sources:
        (parent / name).unlink(missing_ok=True)
    (parent / JOURNAL).unlink(missing_ok=True)


class _Output:
    """A Parquet file that is written in row groups of a useful size, whatever its batches have."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._parts: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._parts.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._parts:
            self._writer.write_table(pa.Table.from_batches(self._parts, self._schema), row_group_size=self._rows)
        self._parts, self._rows, self._bytes = [], 0, 0


def _by_hour(batch: pa.RecordBatch) -> list[tuple[str, pa.RecordBatch]]:
    hours = batch.column("arrived_at").cast(pa.int64()).to_numpy() // 3_600_000_000_000
    found = []
    for hour in np.unique(hours):
        part = batch if len(np.unique(hours)) == 1 else batch.filter(pa.array(hours == hour))
        found.append((f"{datetime.fromtimestamp(int(hour) * 3600, UTC):%Y-%m-%dT%H}", part))
    return found


def _names(parent: Path, hour: str, first: Path, number: int) -> tuple[Path, Path]:
    """The hidden file to write and the name that it gets."""
    stem = first.name.partition(SEALED_SUFFIX)[0]
    final = parent / f"hour={hour}" / f"{stem}-{number}.parquet"
    return final.with_name(f".{final.name}"), final
