"""Which requests of a batch are answered by one run of a model: as they were, filled up, or each by itself.

Edges are places among the requests: run k is requests ``edges[k]`` to ``edges[k + 1]``. No request is ever cut in two.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mlserve.rows.captured import CapturedBatch

Composition = Literal["recorded", "fresh"]


def edges_of(batch: CapturedBatch, composition: Composition, max_rows: int | None) -> list[int]:
    """Where runs begin and end. ``max_rows`` is the most rows of a useful run, None where rows may share none.

    A request that is no rows, and every request where rows may share no run, is a run by itself.
    """
    if max_rows is None or not batch.has_rows:
        return list(range(batch.requests + 1))
    return recorded_edges(batch) if composition == "recorded" else fresh_edges(batch, max_rows)


def recorded_edges(batch: CapturedBatch) -> list[int]:
    """The runs as they were: neighbours of one run whose places in it follow one another.

    Requests that were filled up to a common length, or answered without a run, have none to go on in.
    """
    if not batch.requests:
        return [0]
    batch_id, slot = batch.batch_id, batch.slot
    goes_on = (batch_id[1:] == batch_id[:-1]) & (batch_id[1:] >= 0) & (slot[1:] > slot[:-1])
    return [0, *(np.flatnonzero(~goes_on) + 1).tolist(), batch.requests]


def fresh_edges(batch: CapturedBatch, max_rows: int) -> list[int]:
    """Runs of as many requests as ``max_rows`` rows take, one at least."""
    if batch.rows == batch.requests:
        return [*range(0, batch.requests, max_rows), batch.requests]
    ends = np.cumsum(batch.rows_each)
    edges, before = [0], 0
    while edges[-1] < batch.requests:
        first = edges[-1]
        end = max(first + 1, int(np.searchsorted(ends, before + max_rows, side="right")))
        edges.append(end)
        before = int(ends[end - 1])
    return edges


def is_whole(batch: CapturedBatch, edges: list[int]) -> int:
    """How many of the recorded runs at ``edges`` are here with all their rows.

    Where only a share was captured, or a request of a run failed, the rest makes a smaller run than there was.
    """
    if len(edges) < 2:
        return 0
    rows = np.add.reduceat(batch.rows_each, edges[:-1])
    return int((rows == batch.batch_rows[edges[:-1]]).sum())
