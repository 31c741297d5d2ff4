"""Static INT8 tried on some layers: calibrated once, then quantized as often as there are choices."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx

from mlserve.graph.document import load_graph
from mlserve.quantize.calibration import Calibration
from mlserve.quantize.int8 import calibrate, choose, is_weighted, quantized_graph
from mlserve.quantize.layers import Choice, Kind, Layer
from mlserve.quantize.preparing import prepare, quiet, tools_errors
from mlserve.quantize.targets import Target


class StaticBench:
    """The layers of the model in ``source`` that static INT8 can take, each of which is INT8 or stays FP32."""

    def __init__(self, source: Path, folder: Path, target: Target, calibration: Calibration) -> None:
        self._folder, self._target, self._source = folder, target, source
        self._prepared = folder / "prepared.onnx"
        with tools_errors(source), quiet():
            self._is_large = prepare(source, self._prepared, folder)
        _, tensors = choose(self._prepared, target)
        self.calibrated = calibrate(self._prepared, tensors, calibration)
        self.model = load_graph(self._prepared)
        self.layers = _layers(self.model)

    def apply(self, choice: Choice) -> onnx.ModelProto:
        """A new graph in which the layers that ``choice`` names as INT8 are. Raises Unsupported."""
        left_out = {layer.name for layer in self.layers if choice.get(layer.name) is not Kind.INT8}
        if len(left_out) == len(self.layers):
            return self.model
        nodes, _ = choose(self._prepared, self._target, left_out=left_out)
        with tools_errors(self._source), quiet():
            return quantized_graph(
                self._prepared, self._folder, nodes, self.calibrated.ranges, self._target, is_large=self._is_large
            )


def _layers(model: onnx.ModelProto) -> list[Layer]:
    held = {t.name: t.dims for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    ranks = {name: len(dims) for name, dims in held.items()}
    return [
        Layer(node.name, node.op_type, node.input[1], held[node.input[1]][0], prod(held[node.input[1]][1:]))
        for node in model.graph.node
        if is_weighted(node, ranks)
    ]
