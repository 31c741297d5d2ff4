"""Captured requests that production and a version in shadow both answered, with the outcomes that are known of them.

shadow's rows with a label ─► up to ``CHUNK`` requests ──request id, first row──► production's rows ─► ``Pairs``

What both answered is in the capture already, so nothing is run: this is how a shadow's quality becomes known when the
truth arrives weeks later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve.compare.pairs import Array, Pairs
from mlserve.core.refs import Stage
from mlserve.rows.capture_file import CaptureFile, files_of, open_file
from mlserve.rows.capture_format import tensors_of
from mlserve.rows.capture_table import TensorColumn
from mlserve.rows.outcomes import Outcomes

CHUNK = 100_000
"""Requests of the shadow in memory at a time; production's files are read once for each so many."""

OK = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """A version whose rows are meant; ``digest`` None is any."""

    version: int
    digest: str | None = None

    def wrote(self, file: CaptureFile) -> bool:
        header = file.header
        return header.version == self.version and self.digest in (None, header.digest)


def shadowed_pairs(
    path: Path, shadow: Answered, champion: Answered, outcomes: Outcomes, *, chunk: int = CHUNK
) -> Iterator[Pairs]:
    """Pairs with ``labels`` of the requests in the capture at ``path``; those without any known label are left out.

    ``expected`` is what ``champion`` answered in production, ``actual`` what ``shadow`` did beside it. There are no
    inputs. Raises NotFound, InvalidInput for files that are none.
    """
    files = [file for one in files_of(path) if (file := open_file(one)) is not None]
    theirs = [file for file in files if champion.wrote(file)]
    for held in _chunks([file for file in files if shadow.wrote(file)], outcomes, chunk):
        keys = held.column("key").combine_chunks()
        for file in theirs:
            for batch in file.batches():
                answered = _of_stage(batch, Stage.PRODUCTION)
                at = pc.index_in(_keys(answered), value_set=keys)
                is_paired = pc.is_valid(at)
                answered = answered.filter(is_paired)
                if answered.num_rows:
                    beside = held.take(at.filter(is_paired)).combine_chunks().to_batches()[0]
                    yield from _pairs(answered, file.schema, beside, outcomes)


def _chunks(files: list[CaptureFile], outcomes: Outcomes, chunk: int) -> Iterator[pa.Table]:
    """The labelled rows of a version in shadow, with a ``key`` each; those of one schema together."""
    held: list[pa.RecordBatch] = []
    for file in files:
        for batch in file.batches():
            found = _labelled(_of_stage(batch, Stage.SHADOW), outcomes)
            if not found.num_rows:
                continue
            found = found.append_column("key", _keys(found))
            if held and held[0].schema != found.schema:
                yield pa.Table.from_batches(held)
                held = []
            held.append(found)
            if sum(one.num_rows for one in held) >= chunk:
                yield pa.Table.from_batches(held)
                held = []
    if held:
        yield pa.Table.from_batches(held)


def _of_stage(batch: pa.RecordBatch, stage: Stage) -> pa.RecordBatch:
    """What was answered well for ``stage``."""
    is_meant = pc.and_(pc.equal(batch.column("stage"), str(stage)), pc.equal(batch.column("status"), OK))
    return batch.filter(is_meant)


def _labelled(batch: pa.RecordBatch, outcomes: Outcomes) -> pa.RecordBatch:
    """The requests of which the label of some row is known."""
    labels = outcomes.labels(batch.column("request_id"), _numbers(batch, "rows"), _numbers(batch, "first_row"))
    if labels is None:
        return batch.slice(0, 0)
    rows = _numbers(batch, "rows")
    known = np.concatenate([[0], np.cumsum(~np.ma.getmaskarray(labels))])  # type: ignore[no-untyped-call]
    ends = np.cumsum(rows)
    return batch.filter(pa.array(known[ends] > known[ends - rows]))


def _keys(batch: pa.RecordBatch) -> pa.Array:
    """What names a request, or a piece of one."""
    return pc.binary_join_element_wise(
        batch.column("request_id"), pc.cast(batch.column("first_row"), pa.string()), "\0"
    )


def _numbers(batch: pa.RecordBatch, name: str) -> Array:
    values: Array = batch.column(name).to_numpy(zero_copy_only=False)
    return values


def _pairs(answered: pa.RecordBatch, schema: pa.Schema, beside: pa.RecordBatch, outcomes: Outcomes) -> Iterator[Pairs]:
    """Requests in the same order on both sides, those of equal shapes together."""
    mine, theirs = _columns(answered, schema), _columns(beside, beside.schema)
    names = [name for name in mine if name in theirs]
    if not names:
        return
    rows = _numbers(answered, "rows")
    shapes = np.concatenate(
        [np.empty((len(rows), 0), np.int64), *(side[name].dims for side in (mine, theirs) for name in names)], axis=1
    )
    has_rows = np.ones(len(rows), bool)
    for side in (mine, theirs):
        for name in names:
            has_rows &= side[name].present & (side[name].ranks > 0) & (side[name].dims[:, 0] == rows)
    # A request's own number of rows keeps it from nobody: it is the rest of the shape that must be equal.
    at = 0
    for side in (mine, theirs):
        for name in names:
            shapes[:, at] = 0
            at += side[name].dims.shape[1]
    _, group = np.unique(shapes, axis=0, return_inverse=True)
    for number in range(int(group.max(initial=-1)) + 1):
        index = np.flatnonzero((group.reshape(-1) == number) & has_rows)
        if len(index):
            yield _pairs_of(answered.take(pa.array(index)), schema, beside.take(pa.array(index)), names, outcomes)


def _pairs_of(
    answered: pa.RecordBatch, schema: pa.Schema, beside: pa.RecordBatch, names: list[str], outcomes: Outcomes
) -> Pairs:
    rows, firsts = _numbers(answered, "rows"), _numbers(answered, "first_row")
    ids = answered.column("request_id")
    return Pairs(
        ids.to_pylist(),
        rows,
        _tensors(_columns(answered, schema), names, rows),
        _tensors(_columns(beside, beside.schema), names, rows),
        {},
        labels=outcomes.labels(ids, rows, firsts),
        first_rows=firsts,
        weights=_numbers(answered, "weight"),
    )


def _columns(batch: pa.RecordBatch, schema: pa.Schema) -> dict[str, TensorColumn]:
    return {name: TensorColumn(batch, "output", name, dtype) for name, dtype in tensors_of(schema, "output").items()}


def _tensors(columns: Mapping[str, TensorColumn], names: list[str], rows: Array) -> dict[str, Array]:
    found: dict[str, Any] = {name: columns[name].joined(0, len(rows), rows) for name in names}
    return found
