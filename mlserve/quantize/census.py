"""What a graph is made of, as far as it decides whether a method can gain anything: bytes of weights by their use."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx

from mlserve.graph.walking import graphs, nodes, tensors

MIN_WEIGHT_BYTES = 4096
"""Below it, scales and operators that a method adds weigh more than what it saves, and measured gains are chance."""

_FLOAT = onnx.TensorProto.FLOAT


@dataclass(frozen=True, slots=True)
class Census:
    """Bytes of FP32 weights: all of them, those that MatMul and Gemm multiply by, tables of Gather, kernels of Conv.

    ``ml_nodes`` counts operators of ``ai.onnx.ml``, whose weights are attributes that no method here touches.
    """

    float_bytes: int
    matrix_bytes: int
    table_bytes: int
    conv_bytes: int
    ml_nodes: int


def take_census(model: onnx.ModelProto) -> Census:
    """The census of ``model``, whose weights need not be loaded."""
    weights = {
        tensor.name: _bytes(tensor) for graph in graphs(model) for tensor in graph.initializer if _is_matrix(tensor)
    }
    for node in nodes(model):
        if node.op_type == "Constant":
            held = [a.t for a in node.attribute if a.HasField("t") and _is_matrix(a.t)]
            weights |= dict.fromkeys(node.output, sum(_bytes(tensor) for tensor in held)) if held else {}
    by_use = {"matrix": set[str](), "table": set[str](), "conv": set[str]()}
    for node in nodes(model):
        for use, place in _USES.get(node.op_type, ()):
            if len(node.input) > place and node.input[place] in weights:
                by_use[use].add(node.input[place])
    return Census(
        float_bytes=sum(_bytes(tensor) for tensor in tensors(model) if tensor.data_type == _FLOAT),
        matrix_bytes=sum(weights[name] for name in by_use["matrix"]),
        table_bytes=sum(weights[name] for name in by_use["table"]),
        conv_bytes=sum(weights[name] for name in by_use["conv"]),
        ml_nodes=sum(node.domain == "ai.onnx.ml" for node in nodes(model)),
    )


def too_small(census: Census) -> list[str]:
    """Why a model with so few weights is left alone; empty where it has none, of which the method has a word to say.

    >>> too_small(Census(84, 84, 0, 0, 0))
    ['its weights are 84 bytes in all, too few for any method to gain']
    """
    if not 0 < census.float_bytes < MIN_WEIGHT_BYTES:
        return []
    return [f"its weights are {census.float_bytes} bytes in all, too few for any method to gain"]


_USES: dict[str, tuple[tuple[str, int], ...]] = {
    "MatMul": (("matrix", 0), ("matrix", 1)),
    "Gemm": (("matrix", 0), ("matrix", 1)),
    "Gather": (("table", 0),),
    "Conv": (("conv", 1),),
    "ConvTranspose": (("conv", 1),),
}


def _is_matrix(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == _FLOAT and len(tensor.dims) >= 2


def _bytes(tensor: onnx.TensorProto) -> int:
    return 4 * prod(int(length) for length in tensor.dims)
