"""Which operators a graph is made of, and what some of them say about serving it.

The model's file is walked as protobuf wire format, stepping over weights by their length: parsing 300 MB to learn a few
names would keep a server's event loop from answering for a fifth of a second at each swap, and would need onnx.

    ModelProto.graph 7 ─► GraphProto.node 1 ─► NodeProto.op_type 4
              .functions 25 ─► .node 7               .attribute 5 ─► AttributeProto.g 6, .graphs 11
Source: onnx.proto3; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from mlserve.errors import InvalidInput, NotFound

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

RANDOM = frozenset({*(name for name, why in ROW_MIXING.items() if "random" in why), "Sampling"})
"""Operators that give other values for the same inputs; Sampling is ONNX Runtime's own."""

Buffer = bytes | mmap.mmap
Range = tuple[int, int]

_GRAPH, _FUNCTIONS = 7, 25
_GRAPH_NODE, _FUNCTION_NODE = 1, 7
_OP_TYPE, _ATTRIBUTE = 4, 5
_SUBGRAPHS = (6, 11)
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def open_mapped(source: Path) -> mmap.mmap:
    """``source`` mapped into memory, for the caller to close. Raises NotFound, and InvalidInput for an empty file."""
    try:
        with source.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise NotFound(f"no file '{source}'") from error
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise InvalidInput(f"cannot read '{source}': {error}") from error


def read_operators(source: Path | bytes) -> frozenset[str]:
    """The types of all nodes of the model in ``source``, those of subgraphs and of its own functions included.

    Raises NotFound, and InvalidInput for what is not protobuf.
    """
    if isinstance(source, bytes):
        return frozenset(_operators(source))
    with open_mapped(source) as content:
        return frozenset(_operators(content))


def _operators(content: Buffer) -> Iterator[str]:
    try:
        for number, inside in fields(content, (0, len(content))):
            if number == _GRAPH:
                yield from _of_nodes(content, inside, _GRAPH_NODE)
            elif number == _FUNCTIONS:
                yield from _of_nodes(content, inside, _FUNCTION_NODE)
    except (IndexError, UnicodeDecodeError) as error:
        raise InvalidInput("the model's file is cut short or no ONNX") from error


def _of_nodes(content: Buffer, within: Range, node_number: int) -> Iterator[str]:
    for number, node in fields(content, within):
        if number != node_number:
            continue
        for part, inside in fields(content, node):
            if part == _OP_TYPE:
                yield content[slice(*inside)].decode()
            elif part == _ATTRIBUTE:
                for kind, graph in fields(content, inside):
                    if kind in _SUBGRAPHS:
                        yield from _of_nodes(content, graph, _GRAPH_NODE)


def fields(content: Buffer, within: Range) -> Iterator[tuple[int, Range]]:
    """The number and the extent of each length-delimited field in ``within``; others are stepped over.

    Raises IndexError where a field reaches beyond ``within``.
    """
    at, end = within
    while at < end:
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == _LENGTH:
            length, at = _varint(content, at)
            if at + length > end:
                raise IndexError(at)
            yield number, (at, at + length)
            at += length
        elif kind == _VARINT:
            _, at = _varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise IndexError(at)


def _varint(content: Buffer, at: int) -> tuple[int, int]:
    """The number that begins ``at``, and where it ends. Raises IndexError past the end, or after ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError(at)
