"""Values inside a graph made outputs of it: by name, or what lies before its last layer.

… ─► Relu ─► ReduceMean ─┬─► Gemm ─► logits         ``penultimate(model, "logits")`` is ReduceMean's output
                         └─► (added as an output)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import onnx

from mlserve.core.refs import did_you_mean
from mlserve.errors import NotFound, UsageError

LAYERS = frozenset(
    {
        *("Gemm", "MatMul", "Conv", "ConvTranspose", "FusedMatMul", "FusedGemm", "FusedConv"),
        *("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm", "DynamicQuantizeMatMul"),
        *("MatMulNBits", "MatMulBnb4"),
    }
)
"""Nodes that multiply their first input by weights."""

CASTS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Identity"})
"""Nodes whose output is their first input, in another type."""

SHOWN = 20


def tensors_inside(model: onnx.ModelProto) -> list[str]:
    """The tensors that nodes of the main graph make out of the inputs, in order, without those that are constant."""
    constant = _constants(model)
    return [name for node in model.graph.node for name in node.output if name and name not in constant]


def named(model: onnx.ModelProto, name: str) -> str:
    """The tensor called ``name``, or the first output of the node that is. Raises NotFound, UsageError for an input."""
    known = tensors_inside(model)
    if name in known:
        return name
    by_node = {node.name: node.output[0] for node in model.graph.node if node.name and node.output}
    if by_node.get(name) in known:
        return str(by_node[name])
    if name in {value.name for value in model.graph.input}:
        raise UsageError(f"'{name}' is an input of the model, which is watched as it is")
    near = did_you_mean(name, [*known, *by_node])
    hint = near or "there are " + ", ".join(known[-SHOWN:] if len(known) > SHOWN else known)
    raise NotFound(f"no tensor or node '{name}' in the model", hint=hint)


def penultimate(model: onnx.ModelProto, output: str) -> str | None:
    """What the last layer with weights before ``output`` takes; None where there is none that takes no input.

    Layers whose both sides come from the inputs (attention) are no such layers, and casts are looked through.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    inputs = {value.name for value in model.graph.input}
    constant = _constants(model)
    seen: set[str] = set()
    level = [output]
    # Breadth first: of several layers the one nearest to the output.
    while level:
        following: list[str] = []
        for name in level:
            node = makers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if (
                node.op_type in LAYERS
                and any(one in constant for one in node.input[1:])
                and node.input[0] not in constant
            ):
                taken = _behind_casts(node.input[0], makers)
                if taken not in inputs:
                    return taken
                continue
            following += [one for one in node.input if one not in constant]
        level = following
    return None


def give_out(model: onnx.ModelProto, tensors: Iterable[str]) -> None:
    """Make each of ``tensors`` an output of ``model`` that is not one yet, nor an input."""
    known = {value.name for value in chain(model.graph.output, model.graph.input)}
    # Without a type: ONNX Runtime knows it, also where ONNX infers none (outputs of ai.onnx.ml encoders).
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in known)


def _is_layer(node: onnx.NodeProto, constant: set[str]) -> bool:
    if node.op_type not in LAYERS or node.input[0] in constant:
        return False
    return any(name in constant for name in node.input[1:])


def _behind_casts(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    while (node := makers.get(name)) is not None and node.op_type in CASTS and node.input:
        name = node.input[0]
    return name


def _constants(model: onnx.ModelProto) -> set[str]:
    """The tensors that are the same whatever comes in."""
    graph = model.graph
    found = {tensor.name for tensor in graph.initializer} | {one.values.name for one in graph.sparse_initializer}
    for node in graph.node:
        has_subgraph = any(one.HasField("g") or one.graphs for one in node.attribute)
        if not has_subgraph and all(not name or name in found for name in node.input) and node.op_type not in _DRAWING:
            found |= set(node.output)
    return found


_DRAWING = frozenset({"RandomNormal", "RandomUniform"})
