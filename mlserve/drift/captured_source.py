"""Captured traffic as blocks: what one version was asked and answered within some time, with what turned out since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.blocks import BLOCK_ROWS, Block
from mlserve.drift.sources import NO_FAULTS
from mlserve.drift.windows import Bounds
from mlserve.errors import InvalidInput
from mlserve.rows.captured import CapturedBatch, Window
from mlserve.rows.captured_reading import Captured
from mlserve.rows.outcomes import Outcomes
from mlserve.rows.tables import Array

EVERYTHING = Bounds(None, None)


class CaptureSource:
    """The rows that ``version`` (None: any) answered within ``bounds``; labels where outcomes were told.

    With ``answers_of`` only that version's answers are told, and of the others nothing but what was asked. With
    ``signature`` rows must be what such a model takes. Requests that failed, that a shadow answered, or that lack an
    input are left out, and counted by reason in ``left_out`` each time that all were read. Raises NotFound where there
    is no capture; InvalidInput for one that does not fit, a folder without a captured request or of several models.
    """

    kind = "capture"
    faults = NO_FAULTS
    names: Mapping[str, Sequence[str]]
    total_rows: int | None = None

    def __init__(
        self,
        path: Path,
        *,
        version: int | None = None,
        bounds: Bounds = EVERYTHING,
        answers_of: int | None = None,
        signature: Signature | None = None,
    ) -> None:
        self.path = path
        self._answers_of = answers_of
        self._signature = signature
        self.names = {}
        self.left_out: Counter[str] = Counter()
        self._captured = Captured(path)
        self._outcomes = Outcomes.open(path, self._captured.model)
        self._window = Window(as_ns(bounds.start), as_ns(bounds.end), version)
        if signature is not None:
            _check_tensors(path, self._captured.tensors("input"), signature)

    @property
    def digest(self) -> str:
        return self._captured.digest()

    @property
    def has_outcomes(self) -> bool:
        return len(self._outcomes) > 0

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """At most ``rows`` rows at a time, but for a single request of more; file after file."""
        self.left_out = Counter()
        start = 0
        for batch in self._captured.batches(self._window):
            self.left_out.update(batch.left_out)
            if not batch.has_rows:
                self.left_out["no rows"] += batch.requests
                continue
            for part in _parts(batch, rows):
                yield self._block(part, start)
                start += part.rows

    def _block(self, batch: CapturedBatch, start: int) -> Block:
        each = batch.rows_each
        if self._signature is not None:
            _check_shapes(self.path, batch, self._signature)
        labels = self._outcomes.labels(batch.ids.column, each, batch.first_rows)
        times = np.repeat(batch.arrived_ns // 1000, each).astype("datetime64[us]")
        return Block(
            start,
            batch.rows,
            batch.inputs,
            batch.outputs if self._answers_of in (None, batch.version) else {},
            labels,
            times,
            None if (batch.weights == 1).all() else np.repeat(batch.weights, each),
        )


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many rows there are, and when the first and the last came; None of none."""

    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None


def arrivals(path: Path, *, version: int | None = None, bounds: Bounds = EVERYTHING) -> Arrivals:
    """What came within ``bounds``, without looking at it. Raises as ``CaptureSource``."""
    rows, first, last = 0, None, None
    for batch in Captured(path).batches(Window(as_ns(bounds.start), as_ns(bounds.end), version)):
        if not batch.requests:
            continue
        rows += batch.rows
        least, most = int(batch.arrived_ns.min()), int(batch.arrived_ns.max())
        first = least if first is None else min(first, least)
        last = most if last is None else max(last, most)
    return Arrivals(rows, as_moment(first), as_moment(last))


def narrowed(path: Path, bounds: Bounds, *, version: int | None = None) -> Bounds:
    """``bounds`` as times: where they are the last N rows, from the arrival of the first of those.

    A request is in whole or not at all, so there may be some rows more than N. Raises as ``CaptureSource``.
    """
    if bounds.rows is None:
        return bounds
    times, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for batch in Captured(path).batches(Window(as_ns(bounds.start), as_ns(bounds.end), version)):
        times, counts = _latest(
            np.concatenate([times, batch.arrived_ns]), np.concatenate([counts, batch.rows_each]), bounds.rows
        )
    first = as_moment(int(times.min())) if len(times) else bounds.end
    return Bounds(first, bounds.end)


def as_ns(moment: datetime | None) -> int | None:
    """Nanoseconds since 1970."""
    if moment is None:
        return None
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 10**9 + elapsed.microseconds * 1000


def as_moment(ns: int | None) -> datetime | None:
    """The moment to the microsecond below; None for None."""
    if ns is None:
        return None
    return datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns % 10**9 // 1000)


def _check_tensors(path: Path, tensors: Mapping[str, DType], signature: Signature) -> None:
    for spec in signature.inputs:
        if spec.name not in tensors:
            raise InvalidInput(f"'{path}' has no input '{spec.name}'", hint=f"it has {', '.join(tensors)}")
        if tensors[spec.name] is not spec.dtype:
            raise InvalidInput(
                f"input '{spec.name}' in '{path}' is {tensors[spec.name]}, and the model takes {spec.dtype}"
            )


def _check_shapes(path: Path, batch: CapturedBatch, signature: Signature) -> None:
    for spec in signature.inputs:
        array = batch.inputs[spec.name]
        if spec.dims and not TensorSpec(spec.name, spec.dtype, (None, *spec.dims[1:])).accepts(array.shape):
            raise InvalidInput(
                f"a row of '{spec.name}' in '{path}' is {list(array.shape[1:])}, the model takes {list(spec.shape[1:])}"
            )


def _latest(times: Array, counts: Array, rows: int) -> tuple[Array, Array]:
    """The latest requests that have ``rows`` rows together, or all."""
    order = np.argsort(times, kind="stable")[::-1]
    held = np.cumsum(counts[order])
    kept = order[: int(np.searchsorted(held, rows)) + 1]
    return times[kept], counts[kept]


def _parts(batch: CapturedBatch, rows: int) -> Iterator[CapturedBatch]:
    if batch.rows <= rows:
        if batch.requests:
            yield batch
        return
    held = np.cumsum(batch.rows_each)
    first = 0
    while first < batch.requests:
        before = int(held[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(held, before + rows, "right")))
        yield batch.slice(first, end)
        first = end
