"""A tensor from inside a model, for rows of a sample: what the model makes of them before it decides.

    tapped = open_tapped(path, "pooled" | None, output=plan.score_output, is_embedding=plan.task == "tensor")
    tapped.tensor                 its name
    tapped.run(inputs)            the model's own outputs: the same session serves ``Run``, so nothing is loaded twice
    tapped.embed(inputs)          (rows, width) float32

The graph gets one more output and runs in ONNX Runtime as ever; weights in files beside it stay there. Of tokens
(rows, tokens, width) the mean over those that the attention mask keeps is taken, of maps (rows, channels, …) the mean
over all places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mlserve.compare.kinds import as_comparable
from mlserve.core.settings import Device
from mlserve.errors import InvalidInput, Unsupported
from mlserve.graph.document import load_graph
from mlserve.graph.tapping import give_out, named, penultimate, tensors_inside
from mlserve.rows.tables import Array
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.threads import ThreadPlan

MAX_BATCH_ROWS = 64
MAX_VALUE_BYTES = 64 << 20
"""Rows are taken so many at a time that the tapped tensor comes to about this much, one row at least."""
MAX_WIDTH = 8192
MASKS = ("attention_mask", "mask")


class Tapped:
    """A model whose ``tensor`` is one of its outputs; ``own`` are the names of those that it has by itself."""

    def __init__(self, model: OnnxModel, tensor: str, own: list[str]) -> None:
        self._model = model
        self.tensor = tensor
        self._own = own

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The model's own outputs, as if it were not tapped. Raises as ``OnnxModel.run``."""
        return self._model.run(inputs, self._own)

    def embed(self, inputs: Mapping[str, Array]) -> Array:
        """The tapped tensor of all rows, (rows, width) float32, computed a few rows at a time.

        Raises InvalidInput for inputs that the model refuses, and for a tensor that has no row for each row, is no
        number, or is wider than ``MAX_WIDTH``.
        """
        rows = len(next(iter(inputs.values()), ()))
        parts: list[Array] = []
        start, taken = 0, 1
        while start < rows:
            values = self._values({name: array[start : start + taken] for name, array in inputs.items()})
            parts.append(_pooled(values, {name: array[start : start + taken] for name, array in inputs.items()}))
            start += taken
            taken = max(1, min(MAX_BATCH_ROWS, MAX_VALUE_BYTES * len(values) // max(1, values.nbytes)))
            if parts[-1].shape[1] > MAX_WIDTH:
                raise InvalidInput(
                    f"'{self.tensor}' has {parts[-1].shape[1]:,} values a row, and {MAX_WIDTH:,} are the most",
                    hint="--tap with a tensor behind a pooling layer",
                )
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def close(self) -> None:
        self._model.close()

    def _values(self, inputs: Mapping[str, Array]) -> Array:
        rows = len(next(iter(inputs.values())))
        values = self._model.run(inputs, [self.tensor])[self.tensor]
        if values.ndim < 2 or len(values) != rows or values.dtype.kind in "OSU":
            raise InvalidInput(
                f"'{self.tensor}' is {values.dtype} of shape {values.shape} for {rows} rows, and no vector a row",
                hint="--tap with a tensor of shape (rows, width)",
            )
        found: Array = as_comparable(values).astype(np.float32)
        return found


@contextmanager
def open_tapped(
    path: Path,
    tap: str | None = None,
    *,
    output: str | None = None,
    is_embedding: bool = False,
    device: Device = "cpu",
    threads: ThreadPlan | None = None,
) -> Iterator[Tapped]:
    """The ONNX model at ``path`` with the tensor or node ``tap`` given out.

    Without ``tap`` it is what the last layer before ``output`` (else the first output) takes, or where the output
    ``is_embedding`` itself, that. Raises NotFound for a name that is not there, Unsupported where a model has no inner
    layer (trees) or is no ONNX graph, and as ``load_model``.
    """
    if path.suffix != ".onnx":
        raise Unsupported(f"'{path}' is no ONNX graph, and only those can be tapped")
    graph = load_graph(path, weights=False)
    own = [value.name for value in graph.graph.output]
    if output is not None and output not in own:
        raise InvalidInput(f"the model has no output '{output}'")
    end = output or own[0]
    tensor = named(graph, tap) if tap is not None else end if is_embedding else penultimate(graph, end)
    if tensor is None:
        few = ", ".join(tensors_inside(graph)[-5:])
        raise Unsupported(f"no layer with weights lies inside the model before '{end}'", hint=f"--tap, such as {few}")
    give_out(graph, [tensor])
    # The graph alone goes into memory twice: weights beside it are read by the session from where they are.
    content = graph.SerializeToString()
    del graph
    model = load_model(content, device=device, threads=threads, label=f"'{path}' with a tap", weights_in=path.parent)
    try:
        yield Tapped(model, tensor, own)
    finally:
        model.close()


def _pooled(values: Array, inputs: Mapping[str, Array]) -> Array:
    """(rows, width) of values with more axes."""
    if values.ndim == 2:
        return values
    if values.ndim > 3:
        found: Array = values.mean(axis=tuple(range(2, values.ndim)))
        return found
    mask = next((inputs[name] for name in MASKS if name in inputs and inputs[name].shape == values.shape[:2]), None)
    weights = np.ones(values.shape[:2], np.float32) if mask is None else (mask != 0).astype(np.float32)
    pooled: Array = (values * weights[:, :, None]).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)[:, None]
    return pooled
