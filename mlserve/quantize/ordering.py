"""Nodes in an order in which each comes after what it reads, as ONNX demands; converters append theirs at the end."""

from __future__ import annotations

import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Order the nodes of ``graph`` by what they read, otherwise as they are; subgraphs read from around them.

    A graph with a cycle is left as it is: the checker will say so.
    """
    waiting = list(graph.node)
    made_here = {name for node in waiting for name in node.output if name}
    ready: set[str] = set()
    ordered: list[onnx.NodeProto] = []
    while waiting:
        left = []
        for node in waiting:
            if _reads(node) & made_here <= ready:
                ordered.append(node)
                ready.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):
            return
        waiting = left
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _reads(node: onnx.NodeProto) -> set[str]:
    """What ``node`` reads, its subgraphs included; names that those define themselves do no harm."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            for inner in graph.node:
                names |= _reads(inner)
            names |= {value.name for value in graph.output}
    return names
