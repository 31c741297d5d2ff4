"""A choice of kinds applied to a graph: the named layers computed as it says, everything else as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlserve.graph.document import load_graph
from mlserve.graph.walking import nodes
from mlserve.quantize.blocks import Bits, to_blocks, to_channels
from mlserve.quantize.layers import Choice, Kind, Layer, layers_of, name_nodes, uniform
from mlserve.quantize.preparing import prepare, quiet, tools_errors
from mlserve.quantize.targets import Target

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK = 32
"""Values of a matrix that share a scale."""

INT8_COMPUTE = 4
"""``accuracy_level`` of MatMulNBits: activations as INT8. At 0 a CPU computes in FP32, slower than the original."""

_MICROSOFT = "com.microsoft"
_BITS: dict[Kind, Bits] = {Kind.W8: 8, Kind.W4: 4}


@dataclass(slots=True)
class _Made:
    """What replaces the chosen nodes: nodes by the name of the one they replace, and the tensors that they read."""

    nodes: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)
    inputs_in_int8: set[str] = field(default_factory=set)


def apply_everywhere(kind: Kind, source: Path, folder: Path, target: Target) -> onnx.ModelProto:
    """The model in ``source`` with all its layers as ``kind``; ``folder`` is for intermediate files.

    Raises Unsupported for a graph that ONNX Runtime's tools cannot prepare.
    """
    with tools_errors(source), quiet():
        bench = Workbench(prepared_graph(source, folder), target)
        return bench.apply(uniform(bench.layers, kind))


def prepared_graph(source: Path, folder: Path) -> onnx.ModelProto:
    """The model in ``source`` with its constants folded."""
    prepared = folder / "prepared.onnx"
    prepare(source, prepared, folder)
    return load_graph(prepared)


class Workbench:
    """A graph on which choices are tried one after the other; what was made of a weight once is kept for the next.

    ``model`` is left as it was, but for the names that its nodes may get.
    """

    def __init__(self, model: onnx.ModelProto, target: Target) -> None:
        self.model = name_nodes(model)
        self.layers = layers_of(model)
        self._target = target
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._kept: dict[tuple[str, str, bool], tuple[Array, Array]] = {}

    def apply(self, choice: Choice) -> onnx.ModelProto:
        """A new graph by ``choice``. A weight that would not become smaller stays as it is.

        Raises KeyError for a name that is no layer of this graph.
        """
        layers = {layer.name: layer for layer in self.layers}
        chosen = {name: (layers[name], kind) for name, kind in choice.items() if kind is not Kind.FP32}
        made = _Made()
        for node in self.model.graph.node:
            if node.name in chosen:
                self._replace(node, *chosen[node.name], made)
        return _rebuilt(self.model, made)

    def _replace(self, node: onnx.NodeProto, layer: Layer, kind: Kind, made: _Made) -> None:
        form = _form(layer, kind)
        codes, scales = self._weight(layer, form, is_turned=bool(_attribute(node, "transB")))
        if codes.nbytes + scales.nbytes >= layer.weight_bytes or not _fits(layer, kind):
            return
        names = f"{layer.weight}/{form}", f"{layer.weight}/{form}/scales"
        for name, array in zip(names, (codes, scales), strict=True):
            made.tensors[name] = numpy_helper.from_array(array, name)
        if layer.is_table:
            made.nodes[node.name] = [_lookup(node, names, layer, _BITS.get(kind, 8))]
        elif kind is Kind.INT8_DYNAMIC:
            made.nodes[node.name] = list(_dynamic(node, names, made.inputs_in_int8))
        else:
            shape = codes.shape[0], layer.weight_bytes // 4 // codes.shape[0]
            made.nodes[node.name] = list(_blockwise(node, names, shape, _BITS[kind], self._target))

    def _weight(self, layer: Layer, form: str, *, is_turned: bool) -> tuple[Array, Array]:
        """Codes and scales of a weight; with ``is_turned`` it is stored as (outputs, inputs)."""
        key = layer.weight, form, is_turned
        if key not in self._kept:
            values = numpy_helper.to_array(self._weights[layer.weight])
            if form == "int8":
                self._kept[key] = to_channels(np.ascontiguousarray(values.T) if is_turned else values)
            else:
                bits: Bits = 4 if form.startswith("int4") else 8
                rows = values if layer.is_table or is_turned else values.T
                made = to_blocks(rows, bits=bits, size=_table_block(layer, bits) if layer.is_table else BLOCK)
                codes = made.codes
                if layer.is_table:
                    codes = codes.reshape(len(rows), -1)[:, : rows.shape[1] * bits // 8]
                self._kept[key] = codes, made.scales
        return self._kept[key]


def _fits(layer: Layer, kind: Kind) -> bool:
    """Two 4-bit codes make a byte, also at the end of a table's row."""
    return not (layer.is_table and kind is Kind.W4 and layer.width % 2)


def _form(layer: Layer, kind: Kind) -> str:
    """How the weight is stored, which is part of its new name: the same one may serve several layers."""
    if layer.is_table:
        return f"{kind if kind is Kind.W4 else Kind.W8}-table"
    return "int8" if kind is Kind.INT8_DYNAMIC else str(kind)


def _table_block(layer: Layer, bits: Bits) -> int:
    """Values of a table's row that share a scale: in 8 bits all, for nothing accumulates in a lookup."""
    return max(BLOCK, 1 << (layer.width - 1).bit_length()) if bits == 8 else BLOCK


def _lookup(node: onnx.NodeProto, weight: tuple[str, str], layer: Layer, bits: Bits) -> onnx.NodeProto:
    """Any opset takes it, for the codes are plain bytes; ONNX's own 4-bit type would need opset 21."""
    codes, scales = weight
    return helper.make_node(
        "GatherBlockQuantized",
        [codes, node.input[1], scales],
        list(node.output),
        name=node.name,
        domain=_MICROSOFT,
        gather_axis=0,
        quantize_axis=1,
        block_size=_table_block(layer, bits),
        bits=bits,
    )


def _blockwise(
    node: onnx.NodeProto, weight: tuple[str, str], shape: tuple[int, int], bits: Bits, target: Target
) -> Iterator[onnx.NodeProto]:
    outputs, inputs = shape
    product, bias = _split_bias(node)
    options = {"K": inputs, "N": outputs, "bits": bits, "block_size": BLOCK}
    if target == "cpu":
        options["accuracy_level"] = INT8_COMPUTE
    made = helper.make_node("MatMulNBits", [node.input[0], *weight], [product], name=node.name, domain=_MICROSOFT)
    made.attribute.extend(helper.make_attribute(name, value) for name, value in sorted(options.items()))
    yield made
    yield from bias


def _dynamic(node: onnx.NodeProto, weight: tuple[str, str], inputs_in_int8: set[str]) -> Iterator[onnx.NodeProto]:
    """The pattern that ONNX Runtime fuses into one kernel; layers that read the same values share their INT8 form."""
    codes, scales = weight
    read = node.input[0]
    parts = [f"{read}/int8", f"{read}/int8/scale", f"{read}/int8/zero"]
    if read not in inputs_in_int8:
        inputs_in_int8.add(read)
        yield helper.make_node("DynamicQuantizeLinear", [read], parts, name=f"{read}/int8")
    product, bias = _split_bias(node)
    whole, single, scale = (f"{node.name}/{part}" for part in ("integer", "float", "scale"))
    yield helper.make_node("MatMulInteger", [parts[0], codes, parts[2]], [whole], name=node.name)
    yield helper.make_node("Cast", [whole], [single], name=single, to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Mul", [parts[1], scales], [scale], name=scale)
    yield helper.make_node("Mul", [single, scale], [product], name=f"{node.name}/product")
    yield from bias


def _split_bias(node: onnx.NodeProto) -> tuple[str, list[onnx.NodeProto]]:
    """Where the product goes, and what adds the bias of a Gemm to it."""
    if node.op_type != "Gemm" or len(node.input) < 3 or not node.input[2]:
        return node.output[0], []
    product = f"{node.output[0]}/product"
    return product, [helper.make_node("Add", [product, node.input[2]], list(node.output), name=f"{node.name}/bias")]


def _rebuilt(model: onnx.ModelProto, made: _Made) -> onnx.ModelProto:
    """A copy of ``model`` with what was made, without weights that nothing reads any more."""
    rebuilt = onnx.ModelProto()
    rebuilt.CopyFrom(model)
    graph = rebuilt.graph
    placed = [made.nodes.get(node.name, [node]) for node in model.graph.node]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(node for nodes_here in placed for node in nodes_here)
    read = {name for node in nodes(rebuilt) for name in node.input} | {value.name for value in graph.output}
    unread = {tensor.name for tensor in graph.initializer} - read
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in unread]
    inputs = [value for value in model.graph.input if value.name not in unread]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend([*kept, *made.tensors.values()])
    graph.input.extend(inputs)
    if not any(opset.domain == _MICROSOFT for opset in rebuilt.opset_import):
        rebuilt.opset_import.add(domain=_MICROSOFT, version=1)
    return rebuilt


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)
