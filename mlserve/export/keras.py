"""Keras 3: functional, sequential and subclassed models through Keras' own export.

the model ── as lists of named inputs and outputs ── model.export(format="onnx")
                                                └─── what that cannot do: torch's exporter
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import keras
import onnx

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Conversion, Request
from mlserve.export.keras_inputs import Flat, example_inputs, flat_model
from mlserve.export.keras_loading import model_of_file
from mlserve.export.naming import BATCH, name_axes, rename_inputs, rename_outputs
from mlserve.export.quieting import converter_output, native_output
from mlserve.graph.document import load_graph

MAX_OPSETS = {"torch": 20, "tensorflow": 18}
"""The newest opset that Keras' own export writes with each backend."""

_TOOLS = ("keras", "torch", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "onnxruntime-gpu")


class KerasExporter:
    """``.keras`` files, models as objects, and ``.weights.h5`` files of a model that a factory builds."""

    suffixes: ClassVar[tuple[str, ...]] = (".keras",)
    packages: ClassVar[tuple[str, ...]] = ("keras",)

    def convert(self, request: Request) -> Conversion:
        """The graph of a model for inference; axes are dynamic where the model's inputs leave them open.

        Raises UsageError, InvalidInput for a file or model that cannot be used, Unsupported for one that takes text.
        """
        if request.dynamic is not None:
            raise UsageError(
                "the axes of a Keras model are those of its inputs",
                hint="leave out --dynamic, and build it with Input(shape=(None, …)) where any length is meant",
            )
        loaded = request.loaded
        if loaded is None:
            loaded = model_of_file(Path(request.source), request.made, allow_pickle=request.allow_pickle)
        model, given = loaded if isinstance(loaded, tuple) else (loaded, None)
        if not isinstance(model, keras.Model):
            raise InvalidInput(f"'{request.source}' is a {type(model).__qualname__}, not a Keras model")
        flat = flat_model(model, given, request)
        example = example_inputs(flat)
        flat.run(example)  # Keras exports only what was called once
        graph = _as_graph(flat, request.opset)
        rename_inputs(graph, [place.name for place in flat.places])
        names = rename_outputs(graph, list(flat.outputs))
        name_axes(graph)
        return Conversion(
            graph,
            lambda inputs: dict(zip(names, flat.run(inputs), strict=True)),
            _TOOLS,
            example=example,
            notes=flat.notes,
        )


def _as_graph(flat: Flat, opset: int) -> onnx.ModelProto:
    """By Keras' own export, and by torch's what that cannot do; by torch's first where Keras' would fix a length."""
    ways: list[Callable[[Flat, int], onnx.ModelProto]] = [_exported]
    if keras.backend.backend() == "torch":
        ways = [_traced, _exported] if flat.has_open_axes else [_exported, _traced]
    first: Exception | None = None
    for way in ways:
        try:
            return way(flat, opset)
        except (InvalidInput, Unsupported) as error:
            first = first or error
    assert first is not None
    raise first


def _exported(flat: Flat, opset: int) -> onnx.ModelProto:
    newest = MAX_OPSETS.get(keras.backend.backend(), opset)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            with native_output(), converter_output("torch.onnx", "tf2onnx", "jax"):
                flat.model.export(str(path), format="onnx", verbose=False, opset_version=min(opset, newest))
        except Exception as error:  # each backend has a converter of its own, with errors of its own
            fact = str(error).strip().split("\n")[0]
            raise Unsupported(f"Keras cannot export this model: {fact or type(error).__name__}") from error
        graph = load_graph(path)
    _declare_shapes(graph, flat)
    return graph


def _declare_shapes(graph: onnx.ModelProto, flat: Flat) -> None:
    """Lengths that the model knows in place of names that the exporter made up (``Add105_dim_0``)."""
    for value, known in zip(graph.graph.output, flat.model.outputs, strict=True):
        for dim, length in zip(value.type.tensor_type.shape.dim, known.shape, strict=True):
            dim.Clear()
            if length is not None:
                dim.dim_value = length


def _traced(flat: Flat, opset: int) -> onnx.ModelProto:
    import torch

    from mlserve.export.torch_tracing import trace

    class Listed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = flat.model

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            return tuple(keras.tree.flatten(self.model(list(tensors), training=False)))

    example = example_inputs(flat, rows=2)
    tensors = tuple(torch.from_numpy(example[place.name]) for place in flat.places)
    axes = tuple(
        {0: BATCH} | {axis: f"{place.name}_{axis}" for axis, length in enumerate(place.dims, 1) if length is None}
        for place in flat.places
    )
    return trace(Listed().eval(), opset, args=tensors, dynamic_shapes=(axes,))
