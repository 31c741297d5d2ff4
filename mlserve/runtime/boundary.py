"""The signature of a model file without parsing its weights, for what must be known before a session is opened.

Walks the file as ``operators`` does, and hands only inputs and outputs to ONNX's own classes.
Source: onnx.proto3; GraphProto has initializer 5, input 11 and output 12, TensorProto has name 8.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.graph.signature import read_signature
from mlserve.runtime.operators import fields, open_mapped

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT, _NAME = 7, 5, 11, 12, 8


def read_boundary(path: Path) -> Signature:
    """What the model in ``path`` declares to take and give.

    Raises NotFound, InvalidInput for what is no model, and Unsupported where a type or shape is not declared.
    """
    small = onnx.ModelProto()
    graph = small.graph
    with open_mapped(path) as content:
        try:
            for number, inside in fields(content, (0, len(content))):
                if number != _GRAPH:
                    continue
                for part, extent in fields(content, inside):
                    if part == _INITIALIZER:
                        names = (content[slice(*name)] for kind, name in fields(content, extent) if kind == _NAME)
                        graph.initializer.add().name = next(names, b"").decode()
                    elif part == _INPUT:
                        graph.input.append(onnx.ValueInfoProto.FromString(content[slice(*extent)]))
                    elif part == _OUTPUT:
                        graph.output.append(onnx.ValueInfoProto.FromString(content[slice(*extent)]))
        except (IndexError, UnicodeDecodeError, DecodeError) as error:
            raise InvalidInput(f"'{path}' is cut short or no ONNX") from error
    return read_signature(small)
