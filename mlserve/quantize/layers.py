"""The layers of a graph that can be quantized one by one, and a value that says how each is to compute. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnx

OPERATORS = ("MatMul", "Gemm", "Gather")


class Kind(StrEnum):
    """How a layer computes.

    ``int8-dynamic``: weights INT8 per channel, activations quantized as they come. ``int8``: both INT8, ranges fixed by
    calibration. ``int8-weights``, ``int4-weights``: weights in blocks of 8 or 4 bits. ``fp32``: as it was. Tables of
    Gather compute nothing: each kind but ``fp32`` and ``int4-weights`` stores them as 8-bit blocks.
    """

    INT8_DYNAMIC = "int8-dynamic"
    INT8 = "int8"
    W8 = "int8-weights"
    W4 = "int4-weights"
    FP32 = "fp32"


Choice = Mapping[str, Kind]
"""The kind of each layer by its node's name; a layer that is not named stays as it is."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A node that multiplies by a matrix, or looks rows of a table up: its name, operator, and weight (rows, width)."""

    name: str
    operator: str
    weight: str
    rows: int
    width: int

    @property
    def weight_bytes(self) -> int:
        """In FP32."""
        return 4 * self.rows * self.width

    @property
    def is_table(self) -> bool:
        return self.operator == "Gather"


def name_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` itself, in which every node of the main graph now has a name of its own."""
    held = Counter(node.name for node in model.graph.node)
    for number, node in enumerate(model.graph.node):
        if not node.name or held[node.name] > 1:
            node.name = f"{node.op_type}_{number}"
            held[node.name] += 1
    return model


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """The layers of the main graph that can be chosen about, in graph order; their nodes must have names."""
    matrices = {
        tensor.name: (tensor.dims[0], tensor.dims[1])
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    }
    found = []
    for node in model.graph.node:
        place = 0 if node.op_type == "Gather" else 1
        if node.domain or node.op_type not in OPERATORS or len(node.input) <= place:
            continue
        if node.input[place] in matrices and _is_plain(node):
            weight = node.input[place]
            found.append(Layer(node.name, node.op_type, weight, *matrices[weight]))
    return found


def uniform(layers: Iterable[Layer], kind: Kind) -> dict[str, Kind]:
    """The choice by which all ``layers`` become ``kind``."""
    return {layer.name: kind for layer in layers}


def _is_plain(node: onnx.NodeProto) -> bool:
    """Whether ``node`` does no more than multiply, add, or look rows up: alpha, beta and the axes are the usual."""
    held = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Gather":
        return bool(held.get("axis", 0) == 0)
    return not held.get("transA", 0) and held.get("alpha", 1.0) == 1.0 and held.get("beta", 1.0) == 1.0
