"""Which operators a graph is made of, and what some of them say about serving it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""The running time of these depends on the values, so it cannot be known from a measurement."""

ROW_MIXING = {
    "DynamicQuantizeLinear": "takes its scale over the whole batch",
    "DynamicQuantizeMatMul": "takes its scale over the whole batch",
    "DynamicQuantizeLSTM": "takes its scale over the whole batch",
    "RandomNormal": "draws random numbers",
    "RandomNormalLike": "draws random numbers",
    "RandomUniform": "draws random numbers",
    "RandomUniformLike": "draws random numbers",
    "Multinomial": "draws random numbers",
    "Bernoulli": "draws random numbers",
}
"""Operators whose presence alone makes a row's answer depend on its neighbours, and why."""


def read_operators(source: Path | bytes) -> frozenset[str]:
    """The types of all nodes of the model in ``source``. Raises NotFound, InvalidInput."""
    from mlserve.graph.document import load_graph

    if isinstance(source, Path):
        return operators_of(load_graph(source, weights=False))
    import onnx

    return operators_of(onnx.load_model_from_string(source))


def operators_of(model: Any) -> frozenset[str]:
    """The types of all nodes of a ModelProto, those of subgraphs and of the model's own functions included."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return frozenset(_types(nodes))


def _types(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        yield node.op_type
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _types(graph.node)
