"""What became of each layer: the precision that every node with a weight is left with, read from the graph itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx

from mlserve.graph.walking import graphs

Plan = Mapping[str, str]

_FLOATS: Mapping[int, str] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.DOUBLE: "fp64",
}
_BYTES = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
_DYNAMIC = frozenset({"MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"})
_WEIGHT_AT = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1, "Gather": 0}


def plan_of(model: onnx.ModelProto) -> dict[str, str]:
    """The precision of each layer that has a weight, by its node's name (its first output's, where it has none).

    ``fp32``, ``fp16``…; ``int8`` with fixed ranges, ``int8-dynamic`` with activations quantized as they come,
    ``intN-weights`` where only the weight is smaller.
    """
    plan = {}
    for graph in graphs(model):
        held = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) >= 2}
        made_by = {output: node for node in graph.node for output in node.output}
        for node in graph.node:
            precision = _precision(node, held, made_by)
            if precision is not None:
                plan[node.name or node.output[0]] = precision
    return plan


def summary(plan: Plan) -> dict[str, int]:
    """How many layers have each precision, most first.

    >>> summary({"a": "int8", "b": "fp32", "c": "int8"})
    {'int8': 2, 'fp32': 1}
    """
    return dict(Counter(plan.values()).most_common())


def _precision(
    node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto], made_by: Mapping[str, onnx.NodeProto]
) -> str | None:
    if node.op_type in _DYNAMIC:
        return "int8-dynamic"
    if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
        bits = next((attribute.i for attribute in node.attribute if attribute.name == "bits"), 4)
        return f"int{bits}-weights"
    place = _WEIGHT_AT.get(node.op_type)
    if place is None or node.domain or len(node.input) <= place:
        return None
    weight = node.input[place]
    if weight in held:
        # An embedding table's rows are dequantized after they are gathered.
        if node.op_type == "Gather" and held[weight].data_type in _BYTES:
            return "int8-weights"
        return _FLOATS.get(held[weight].data_type)
    source = made_by.get(weight)
    if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in held:
        return None
    values = node.input[0] if place else ""
    is_fixed = values in made_by and made_by[values].op_type == "DequantizeLinear"
    return "int8" if is_fixed else "int8-weights"
