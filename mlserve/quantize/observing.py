"""Looking at values inside a graph while it runs on data, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.graph.document import load_graph, save_graph
from mlserve.graph.tapping import give_out
from mlserve.rows.reading import RowBatch
from mlserve.runtime.model import load_model

Array = np.ndarray[Any, np.dtype[Any]]

MAX_ROWS = 64
MAX_VALUE_BYTES = 128 << 20
"""Rows are taken so many at a time that the values looked at come to about this much, one row at least."""


def observe(
    graph: Path, tensors: Sequence[str], batches: Callable[[int], Iterator[RowBatch]]
) -> Iterator[dict[str, Array]]:
    """The values of ``tensors`` in the model at ``graph`` over ``batches(rows)``, a batch at a time.

    Inputs of the model may be among ``tensors``. A copy of the graph is written beside it. Raises InvalidInput where
    the model refuses the rows.
    """
    observed = graph.with_name(f"{graph.stem}-observed.onnx")
    inputs = _write_observed(graph, observed, tensors)
    inside = [name for name in tensors if name not in inputs]
    with closing(load_model(observed, device="cpu", label="the graph under observation")) as model:

        def values(batch: RowBatch) -> dict[str, Array]:
            seen = {name: batch.inputs[name] for name in tensors if name in inputs}
            return seen | (model.run(batch.inputs, inside) if inside else {})

        first = next(batches(1), None)
        if first is None:
            return
        row_bytes = sum(array.nbytes for array in values(first).values()) // max(first.rows, 1)
        for batch in batches(max(1, min(MAX_ROWS, MAX_VALUE_BYTES // max(row_bytes, 1)))):
            yield values(batch)


def _write_observed(graph: Path, observed: Path, tensors: Sequence[str]) -> set[str]:
    """Write ``graph`` with ``tensors`` among its outputs; the names of its inputs."""
    model = load_graph(graph)
    give_out(model, tensors)
    save_graph(model, observed)
    return {value.name for value in model.graph.input}
