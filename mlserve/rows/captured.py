"""Whole captured requests as arrays: what was asked and answered, when, and in which run.

record batch ──usable requests──► neighbours of equal shape ──► ``CapturedBatch``     the rest: counted by reason

Numbers are views of Arrow's buffers, and texts stay in Arrow until somebody looks at one, so that a request costs no
Python object here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve.core.refs import Stage
from mlserve.rows.capture_format import tensors_of
from mlserve.rows.capture_table import TensorColumn
from mlserve.rows.tables import Array

OK = 200
NUMBERS = ("rows", "first_row", "queue_ns", "compute_ns", "batch_id", "slot", "batch_rows", "weight")


class Texts(Sequence[str]):
    """A column of texts, each made when it is looked at; a null reads as the empty text."""

    __slots__ = ("column",)

    def __init__(self, column: pa.Array) -> None:
        self.column = column

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> Texts: ...

    def __getitem__(self, at: int | slice) -> str | Texts:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self.column))
            if step != 1:
                return Texts(self.column.take(pa.array(range(start, stop, step), pa.int64())))
            return Texts(self.column.slice(start, max(0, stop - start)))
        return self.column[int(at)].as_py() or ""

    def __len__(self) -> int:
        return len(self.column)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    def tolist(self) -> list[str]:
        # Many times as fast as ``to_pylist``, which makes a scalar of each on the way.
        texts: list[str] = self.column.to_numpy(zero_copy_only=False).tolist()
        return [text or "" for text in texts] if self.column.null_count else texts

    def take(self, index: Array) -> Texts:
        return Texts(self.column.take(pa.array(index)))


@dataclass(frozen=True, slots=True)
class Window:
    """Which requests are meant: arrived from ``since_ns`` on and before ``until_ns``, answered by ``version``."""

    since_ns: int | None = None
    until_ns: int | None = None
    version: int | None = None


EVERYTHING = Window()

EACH_TEXT = ("ids", "stage", "unit_key_hash")
EACH_NUMBER = (
    *("arrived_ns", "status", "rows_each", "first_rows", "queue_ns", "compute_ns"),
    *("batch_id", "slot", "batch_rows", "weights"),
)
"""The fields of a ``CapturedBatch`` that have an entry for each request."""


@dataclass(frozen=True, slots=True)
class CapturedBatch:
    """Neighbouring requests of one version whose tensors are of equal shape, or one that is no rows, or none.

    Arrays of numbers are (requests,); ``inputs`` and ``outputs`` have the rows of all requests on axis 0. Of a request
    whose tensors do not all have its rows there, ``has_rows`` is False and the tensors are as they stand. ``server`` is
    what wrote it, among whose runs ``batch_id`` is unique; -1 is an answer without a run (shared, or kept).
    ``left_out`` are requests before these, by why they cannot be replayed; ``place`` is where a reading may go
    on behind it: the number of the file and how many of its requests to pass over. None where it may not.
    """

    version: int
    digest: str | None
    server: str
    ids: Texts
    arrived_ns: Array
    status: Array
    stage: Texts
    unit_key_hash: Texts
    rows_each: Array
    first_rows: Array
    queue_ns: Array
    compute_ns: Array
    batch_id: Array
    slot: Array
    batch_rows: Array
    weights: Array
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    has_rows: bool = True
    left_out: Counter[str] = field(default_factory=Counter)
    place: tuple[int, int] | None = None

    @property
    def requests(self) -> int:
        return len(self.rows_each)

    @property
    def rows(self) -> int:
        """The rows of all requests; a request that is no rows counts as one."""
        return int(self.rows_each.sum()) if self.has_rows else self.requests

    def slice(self, first: int, end: int) -> CapturedBatch:
        """Requests ``first`` to ``end``, as views, with nothing left out before them."""
        bounds = slice(first, end)
        inputs, outputs = self.inputs, self.outputs
        if self.has_rows:
            rows = slice(int(self.rows_each[:first].sum()), int(self.rows_each[:end].sum()))
            inputs, outputs = ({name: array[rows] for name, array in some.items()} for some in (inputs, outputs))
        each: dict[str, Any] = {name: getattr(self, name)[bounds] for name in (*EACH_TEXT, *EACH_NUMBER)}
        return replace(self, **each, inputs=inputs, outputs=outputs, left_out=Counter(), place=None)

    def continues(self, after: CapturedBatch) -> bool:
        """Whether ``after`` may be joined to this one: rows of the same tensors and shapes, of the same version."""
        return (
            self.has_rows
            and after.has_rows
            and self.version == after.version
            and _shapes(self.inputs) == _shapes(after.inputs)
            and _shapes(self.outputs) == _shapes(after.outputs)
        )


def _shapes(tensors: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape[1:] for name, array in tensors.items()}


@dataclass(frozen=True, slots=True)
class Origin:
    """What holds for all requests of a file."""

    version: int
    digest: str | None
    server: str


def captured_batches(batch: pa.RecordBatch, origin: Origin, window: Window = EVERYTHING) -> Iterator[CapturedBatch]:
    """The usable requests of ``batch``, in order. What was left out goes with the first, or with an empty one.

    Left out is what failed ("status 400"), what a shadow answered, and what lacks an input or has no output at all
    ("redacted"). What lies outside ``window`` is not meant, and not counted.
    """
    batch = _within(batch, origin, window)
    left_out, is_usable = _judged(batch)
    if not is_usable.all():
        batch = batch.filter(pa.array(is_usable))
    if not batch.num_rows:
        yield _none(batch, origin, left_out)
        return
    for made in _cut(batch, origin):
        made.left_out.update(left_out)
        left_out = Counter()
        yield made


def _within(batch: pa.RecordBatch, origin: Origin, window: Window) -> pa.RecordBatch:
    if window.version is not None and window.version != origin.version:
        return batch.slice(0, 0)
    if window.since_ns is None and window.until_ns is None:
        return batch
    arrived = _arrived(batch)
    mask = np.ones(batch.num_rows, bool)
    if window.since_ns is not None:
        mask &= arrived >= window.since_ns
    if window.until_ns is not None:
        mask &= arrived < window.until_ns
    return batch if mask.all() else batch.filter(pa.array(mask))


def _judged(batch: pa.RecordBatch) -> tuple[Counter[str], Array]:
    """Why requests cannot be replayed, with how many, and which can be. The first reason of each counts."""
    left_out: Counter[str] = Counter()
    is_usable = np.ones(batch.num_rows, bool)
    shadow = pc.fill_null(pc.equal(batch.column("stage"), str(Stage.SHADOW)), False)
    is_shadow: Array = shadow.to_numpy(zero_copy_only=False)
    if is_shadow.any():
        left_out["stage shadow"] += int(is_shadow.sum())
        is_usable &= ~is_shadow
    status: Array = batch.column("status").to_numpy(zero_copy_only=False)
    has_failed = is_usable & (status != OK)
    if has_failed.any():
        for code, count in zip(*np.unique(status[has_failed], return_counts=True), strict=True):
            left_out[f"status {code}"] += int(count)
        is_usable &= ~has_failed
    has_inputs, has_outputs = np.ones(batch.num_rows, bool), np.zeros(batch.num_rows, bool)
    for name in tensors_of(batch.schema, "input"):
        has_inputs &= _present(batch, f"input.{name}")
    for name in tensors_of(batch.schema, "output"):
        has_outputs |= _present(batch, f"output.{name}")
    is_redacted = is_usable & ~(has_inputs & has_outputs)
    if is_redacted.any():
        left_out["redacted"] += int(is_redacted.sum())
        is_usable &= ~is_redacted
    return left_out, is_usable


def _cut(batch: pa.RecordBatch, origin: Origin) -> Iterator[CapturedBatch]:
    """Neighbours of equal shapes, and of the same outputs."""
    counts = _number(batch, "rows")
    parts = {
        role: {name: TensorColumn(batch, role, name, dtype) for name, dtype in tensors_of(batch.schema, role).items()}
        for role in ("input", "output")
    }
    is_in_rows = np.ones(batch.num_rows, bool)
    cuts = np.zeros(batch.num_rows - 1, bool)
    for part in (*parts["input"].values(), *parts["output"].values()):
        is_in_rows &= ~part.present | ((part.dims[:, 0] == counts) & (part.ranks > 0))
        cuts |= (part.dims[1:, 1:] != part.dims[:-1, 1:]).any(axis=1) | (part.ranks[1:] != part.ranks[:-1])
        cuts |= part.present[1:] != part.present[:-1]
    cuts |= ~(is_in_rows[1:] & is_in_rows[:-1])
    for first, end in pairwise([0, *(np.flatnonzero(cuts) + 1).tolist(), batch.num_rows]):
        has_rows = bool(is_in_rows[first])
        tensors = {
            role: {
                name: part.joined(first, end, counts[first:end]) if has_rows else part.one(first)
                for name, part in parts[role].items()
                if part.present[first]
            }
            for role in ("input", "output")
        }
        yield _made(batch.slice(first, end - first), origin, tensors["input"], tensors["output"], has_rows=has_rows)


def _made(
    batch: pa.RecordBatch,
    origin: Origin,
    inputs: dict[str, Array],
    outputs: dict[str, Array],
    *,
    has_rows: bool,
) -> CapturedBatch:
    rows, firsts, queue_ns, compute_ns, batch_id, slot, batch_rows, weights = (_number(batch, name) for name in NUMBERS)
    return CapturedBatch(
        origin.version,
        origin.digest,
        origin.server,
        Texts(batch.column("request_id")),
        _arrived(batch),
        _number(batch, "status"),
        Texts(batch.column("stage")),
        Texts(batch.column("unit_key_hash")),
        rows,
        firsts,
        queue_ns,
        compute_ns,
        batch_id,
        slot,
        batch_rows,
        weights,
        inputs,
        outputs,
        has_rows,
    )


def _none(batch: pa.RecordBatch, origin: Origin, left_out: Counter[str]) -> CapturedBatch:
    made = _made(batch, origin, {}, {}, has_rows=True)
    made.left_out.update(left_out)
    return made


def _present(batch: pa.RecordBatch, name: str) -> Array:
    array: Array = batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    return array


def _number(batch: pa.RecordBatch, name: str) -> Array:
    array: Array = batch.column(name).to_numpy(zero_copy_only=False)
    return array


def _arrived(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.int64]]:
    array: np.ndarray[Any, np.dtype[np.int64]] = batch.column("arrived_at").cast(pa.int64()).to_numpy()
    return array
