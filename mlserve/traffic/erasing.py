"""Taking one unit's requests out of a capture, for good, with a line that says that it was done.

Every file that has any is written anew without them and renamed over the old one. ``erasures.jsonl`` in the capture's
folder says when, by whom, and how many: the hash of the key, never the key.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlserve.core.files import replacing
from mlserve.core.progress import Progress, silent
from mlserve.rows.capture_file import CaptureFile, files_of, open_file
from mlserve.rows.capture_format import OPEN_SUFFIX, PARQUET_SUFFIX, End, Kind
from mlserve.rows.frames import frame
from mlserve.rows.outcome_log import logs_of
from mlserve.traffic.compacting import finish_journals
from mlserve.traffic.outcomes import forget
from mlserve.traffic.segments import is_growing

AUDIT = "erasures.jsonl"


@dataclass(slots=True)
class Erased:
    """What was taken out, ``outcomes`` of the requests included; ``pending`` are files that a server still writes,
    to be erased once they are sealed."""

    unit_key_hash: str
    requests: int = 0
    files: int = 0
    pending: int = 0
    outcomes: int = 0


def erase(folder: Path, unit_key_hash: str, *, by: str, now: datetime, progress: Progress = silent) -> Erased:
    """Take every request of ``unit_key_hash`` out of the capture in ``folder``. Raises NotFound, InvalidInput."""
    done = Erased(unit_key_hash)
    if folder.is_dir():
        finish_journals(folder)
    paths = files_of(folder)
    theirs: list[tuple[CaptureFile, pa.Array]] = []
    of_logs: dict[Path, list[pa.Array]] = {}
    for number, path in enumerate(paths):
        progress("erase", number, len(paths))
        file = open_file(path)
        ids = pa.nulls(0, pa.string()) if file is None else _ids(file, unit_key_hash)
        if file is None or not len(ids):
            continue
        if is_growing(path):
            done.pending += 1
            continue
        theirs.append((file, ids))
        for log in logs_of(path):
            of_logs.setdefault(log, []).append(ids)
    # First, for without the requests nobody would know any more which outcomes are theirs.
    for log, parts in of_logs.items():
        done.outcomes += forget(log.parent.parent, pa.concat_arrays(parts))
    for file, ids in theirs:
        _rewrite(file, unit_key_hash)
        done.requests += len(ids)
        done.files += 1
    _note(folder if folder.is_dir() else folder.parent, done, by, now)
    return done


def _ids(file: CaptureFile, unit_key_hash: str) -> pa.Array:
    """The ids of their requests in ``file``."""
    found = [
        batch.column("request_id").filter(pc.equal(batch.column("unit_key_hash"), unit_key_hash))
        for batch in file.batches()
    ]
    return pa.concat_arrays([pa.nulls(0, pa.string()), *found])


def _others(batch: pa.RecordBatch, unit_key_hash: str) -> pa.RecordBatch:
    is_theirs = pc.fill_null(pc.equal(batch.column("unit_key_hash"), unit_key_hash), False)
    return batch.filter(pc.invert(is_theirs))


def _rewrite(file: CaptureFile, unit_key_hash: str) -> None:
    with replacing(file.path) as partial:
        if file.path.name.endswith(PARQUET_SUFFIX):
            with pq.ParquetWriter(partial, file.schema, compression="zstd") as writer:
                for batch in file.batches():
                    writer.write_batch(_others(batch, unit_key_hash))
            return
        with partial.open("wb") as out:
            frames = requests = rows = 0
            for kind, payload in (
                (Kind.HEADER, msgspec.json.encode(file.header)),
                (Kind.SCHEMA, file.schema.serialize().to_pybytes()),
            ):
                out.write(frame(kind, frames, payload) + payload)
                frames += 1
            for batch in file.batches():
                rest = _others(batch, unit_key_hash)
                if not rest.num_rows:
                    continue
                payload = rest.serialize().to_pybytes()
                out.write(frame(Kind.ROWS, frames, payload) + payload)
                frames, requests = frames + 1, requests + rest.num_rows
                rows += int(pc.sum(rest.column("rows")).as_py())
            if not file.path.name.endswith(OPEN_SUFFIX):
                payload = msgspec.json.encode(End(rows=rows, requests=requests, dropped=0))
                out.write(frame(Kind.END, frames, payload) + payload)


def _note(folder: Path, done: Erased, by: str, now: datetime) -> None:
    line = msgspec.json.encode({"at": now.isoformat().replace("+00:00", "Z"), "by": by, **asdict(done)}) + b"\n"
    fd = os.open(folder / AUDIT, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)
