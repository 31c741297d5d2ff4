"""The same model as the same bytes: what leaks from the exporter's machine or varies between runs is taken out."""

from __future__ import annotations

import re
from typing import Any

import onnx
from google.protobuf.message import Message
from onnx import numpy_helper

from mlserve.graph.properties import set_properties
from mlserve.graph.walking import tensors

IR_VERSION = 10
"""The IR that we write: the newest that every supported ONNX Runtime loads; it does not limit the opset."""

_LARGE = 128
"""Numbers in a tensor from which on it is a weight."""

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def normalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` itself, changed in place: what it computes stays, two exports of it become equal bytes.

    One opset import a domain, the highest; IR at most 10; no doc strings, stack traces or other properties on graphs,
    nodes and values (torch writes source paths and lines there); no random identifier in the graph's name. The model's
    own properties stay, sorted. Weights that lie in lists of numbers become bytes, which can go to a file of their own.
    """
    model.ir_version = min(model.ir_version, IR_VERSION)
    _dedupe_opsets(model.opset_import)
    for function in model.functions:
        _dedupe_opsets(function.opset_import)
    model.ClearField("doc_string")
    _pack_weights(model)
    for part in (model.graph, *model.functions, *model.training_info):
        _strip(part)
    model.graph.name = _UUID.sub("", model.graph.name) or "model"
    set_properties(model, {})
    return model


def _pack_weights(model: onnx.ModelProto) -> None:
    for tensor in tensors(model):
        count = len(tensor.float_data) + len(tensor.double_data) + len(tensor.int64_data) + len(tensor.int32_data)
        if count < _LARGE or tensor.data_location == onnx.TensorProto.EXTERNAL:
            continue
        packed = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
        packed.data_type = tensor.data_type
        tensor.CopyFrom(packed)


def _dedupe_opsets(imports: Any) -> None:
    """``imports`` is a repeated OperatorSetIdProto; ``ai.onnx`` is another spelling of the empty domain."""
    highest: dict[str, int] = {}
    for opset in imports:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        highest[domain] = max(opset.version, highest.get(domain, 0))
    del imports[:]
    for domain, version in sorted(highest.items()):
        imports.add(domain=domain, version=version)


def _strip(message: Message) -> None:
    """Clear the notes of ``message`` and of all it holds; tensors are not entered, their bytes would be copied."""
    names = message.DESCRIPTOR.fields_by_name
    for note in ("doc_string", "metadata_props"):
        if note in names:
            message.ClearField(note)
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in (value,) if isinstance(value, Message) else value:
            _strip(part)
