"""What a capture holds, read through once in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve.core.histograms import SECONDS, Histogram
from mlserve.rows.capture_file import CaptureFile, files_of, open_file
from mlserve.rows.capture_table import from_row
from mlserve.rows.outcomes import Outcomes
from mlserve.traffic.segments import is_growing

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Window:
    """The arrival of the first and of the last request."""

    start: datetime
    end: datetime

    def joined(self, other: Window | None) -> Window:
        return self if other is None else Window(min(self.start, other.start), max(self.end, other.end))


@dataclass(slots=True)
class Holding:
    """What a capture holds of one version. ``outcomes`` are its requests with a label. ``open`` files are still
    being written, or were when their server died; ``damaged_bytes`` cannot be read."""

    model: str
    version: int
    digest: str | None
    files: int = 0
    open: int = 0
    requests: int = 0
    rows: int = 0
    bytes: int = 0
    damaged_bytes: int = 0
    outcomes: int = 0
    window: Window | None = None


@dataclass(slots=True)
class TensorFigures:
    """The numbers of one tensor over all requests that have it; NaN counts as ``nans`` and in nothing else."""

    name: str
    datatype: str
    requests: int = 0
    missing: int = 0
    values: int = 0
    nans: int = 0
    min: float | None = None
    max: float | None = None
    mean: float | None = None


@dataclass(slots=True)
class Figures:
    """Everything that one version's part of a capture says about its traffic. Times in milliseconds."""

    holding: Holding
    requests_per_s: float | None = None
    estimated_requests: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)
    unit_keys: int = 0
    queue_ms: dict[str, float | None] = field(default_factory=dict)
    compute_ms: dict[str, float | None] = field(default_factory=dict)
    batch_rows_mean: float | None = None
    tensors: list[TensorFigures] = field(default_factory=list)


def survey(path: Path) -> list[Holding]:
    """What the capture at ``path`` holds, a line a version. Raises NotFound, InvalidInput."""
    found: dict[tuple[str, int, str | None], Holding] = {}
    labelled = _Labelled(path)
    for file, batches in _files(path):
        holding = _holding_of(found, file)
        for batch in batches:
            _add(holding, batch, labelled)
        _close(holding, file)
    return sorted(found.values(), key=lambda one: (one.model, one.version))


def figures(path: Path) -> list[Figures]:
    """As ``survey``, with what the requests say: statuses, times, and each tensor's range."""
    found: dict[tuple[str, int, str | None], Holding] = {}
    all_of: dict[int, Figures] = {}
    times: dict[int, tuple[Histogram, Histogram]] = {}
    keys: dict[int, set[str]] = {}
    labelled = _Labelled(path)
    for file, batches in _files(path):
        holding = _holding_of(found, file)
        one = all_of.setdefault(id(holding), Figures(holding))
        queue, compute = times.setdefault(id(holding), (Histogram.over(SECONDS), Histogram.over(SECONDS)))
        for batch in batches:
            _add(holding, batch, labelled)
            _count(one.statuses, batch.column("status").cast(pa.string()))
            _count(one.stages, batch.column("stage"))
            one.estimated_requests += pc.sum(batch.column("weight")).as_py() or 0.0
            keys.setdefault(id(holding), set()).update(pc.unique(batch.column("unit_key_hash").drop_null()).to_pylist())
            queue.add_many(batch.column("queue_ns").to_numpy() / 1e9)
            compute.add_many(batch.column("compute_ns").to_numpy() / 1e9)
            _add_tensors(one, file, batch)
            one.batch_rows_mean = (one.batch_rows_mean or 0.0) + float(pc.sum(batch.column("batch_rows")).as_py() or 0)
        _close(holding, file)
    for number, one in all_of.items():
        _finish(one, *times[number], len(keys.get(number, ())))
    return sorted(all_of.values(), key=lambda one: (one.holding.model, one.holding.version))


def requests_of(path: Path, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Each request of the capture as JSON has it, in the order of the files, ``limit`` at most."""
    left = limit
    for file, batches in _files(path):
        head = {"model": file.header.model, "version": file.header.version, "digest": file.header.digest}
        for batch in batches:
            for at in range(batch.num_rows):
                if left is not None:
                    if left <= 0:
                        return
                    left -= 1
                yield head | from_row(batch, at, file.schema)


def _files(path: Path) -> Iterator[tuple[CaptureFile, Iterator[pa.RecordBatch]]]:
    for one in files_of(path):
        file = open_file(one)
        if file is not None:
            yield file, file.batches()


def _holding_of(found: dict[tuple[str, int, str | None], Holding], file: CaptureFile) -> Holding:
    header = file.header
    key = header.model, header.version, header.digest
    return found.setdefault(key, Holding(*key))


class _Labelled:
    """Counts requests that have an outcome; a model's are read when it first comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._of_model: dict[str, Outcomes] = {}

    def count(self, model: str, batch: pa.RecordBatch) -> int:
        if model not in self._of_model:
            self._of_model[model] = Outcomes.open(self._path, model)
        rows = batch.column("rows").to_numpy()
        labels = self._of_model[model].labels(batch.column("request_id"), rows, batch.column("first_row").to_numpy())
        if labels is None:
            return 0
        requests = np.repeat(np.arange(batch.num_rows), rows)
        return len(np.unique(requests[~labels.mask]))


def _add(holding: Holding, batch: pa.RecordBatch, labelled: _Labelled) -> None:
    if not batch.num_rows:
        return
    holding.outcomes += labelled.count(holding.model, batch)
    holding.requests += batch.num_rows
    holding.rows += int(pc.sum(batch.column("rows")).as_py())
    ends = pc.min_max(batch.column("arrived_at").cast(pa.int64())).as_py()
    holding.window = Window(_moment(ends["min"]), _moment(ends["max"])).joined(holding.window)


def _close(holding: Holding, file: CaptureFile) -> None:
    holding.files += 1
    holding.bytes += file.path.stat().st_size
    holding.open += not file.is_sealed
    # What a server is just writing is no damage.
    holding.damaged_bytes += 0 if is_growing(file.path) else file.damaged_bytes


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def _count(counts: dict[str, int], column: pa.Array) -> None:
    for pair in pc.value_counts(column).to_pylist():
        counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]


def _add_tensors(one: Figures, file: CaptureFile, batch: pa.RecordBatch) -> None:
    for field_ in file.schema:
        if not field_.metadata or b"datatype" not in field_.metadata:
            continue
        column = batch.column(field_.name)
        known = next((tensor for tensor in one.tensors if tensor.name == field_.name), None)
        if known is None:
            known = TensorFigures(field_.name, field_.metadata[b"datatype"].decode())
            one.tensors.append(known)
        known.requests += len(column) - column.null_count
        known.missing += column.null_count
        values = column.flatten()
        if pa.types.is_string(values.type) or pa.types.is_boolean(values.type) or _is_packed(field_):
            known.values += len(values)
            continue
        _add_numbers(known, values.to_numpy(zero_copy_only=False))


def _is_packed(field_: pa.Field) -> bool:
    """Whether the numbers are held as integers that are not their values, such as bfloat16."""
    return not field_.metadata[b"datatype"].decode().startswith(("float16", "float32", "float64", "int", "uint")) or (
        field_.metadata[b"datatype"].decode() in ("int4", "uint4", "int2", "uint2")
    )


def _add_numbers(known: TensorFigures, numbers: np.ndarray[Any, Any]) -> None:
    wide = numbers.astype(np.float64)
    finite = wide[~np.isnan(wide)]
    known.nans += len(wide) - len(finite)
    before = known.values - (known.nans - (len(wide) - len(finite)))
    known.values += len(wide)
    if not len(finite):
        return
    known.min = min(float(finite.min()), finite.max() if known.min is None else known.min)
    known.max = max(float(finite.max()), finite.min() if known.max is None else known.max)
    known.mean = ((known.mean or 0.0) * before + float(finite.sum())) / (before + len(finite))


def _finish(one: Figures, queue: Histogram, compute: Histogram, unit_keys: int) -> None:
    holding = one.holding
    one.queue_ms = _percentiles(queue)
    one.compute_ms = _percentiles(compute)
    one.unit_keys = unit_keys
    if holding.requests:
        one.batch_rows_mean = (one.batch_rows_mean or 0.0) / holding.requests
    if holding.window is not None:
        seconds = (holding.window.end - holding.window.start).total_seconds()
        one.requests_per_s = one.estimated_requests / seconds if seconds else None


def _percentiles(histogram: Histogram) -> dict[str, float | None]:
    found = {f"p{share}": histogram.quantile(share / 100) for share in PERCENTILES}
    return {name: None if value is None else 1e3 * value for name, value in found.items()}
