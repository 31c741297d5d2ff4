"""The signature of an ONNX model, as the graph declares it."""

from __future__ import annotations

import onnx

from mlserve.core.dtypes import from_onnx
from mlserve.core.tensors import Dim, Signature, TensorSpec
from mlserve.errors import InvalidInput, Unsupported

_KINDS = {
    "sequence_type": "sequence",
    "map_type": "map",
    "optional_type": "optional",
    "sparse_tensor_type": "sparse tensor",
}


def read_signature(model: onnx.ModelProto) -> Signature:
    """What ``model`` takes and gives, in graph order, with the names of its dynamic dims.

    Inputs that an initializer gives a default (as in ONNX before IR 4) are left out. A type or shape that an output
    does not declare is inferred. Raises Unsupported for a sequence, map, optional or sparse tensor, and for a shape
    that stays unknown.
    """
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    outputs = list(graph.output)
    if not all(_is_declared(value) for value in outputs):
        outputs = _inferred(model) or outputs
    return Signature(
        tuple(_read_spec("input", value) for value in graph.input if value.name not in defaults),
        tuple(_read_spec("output", value) for value in outputs),
    )


def _is_declared(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or value.type.tensor_type.HasField("shape"))


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto] | None:
    # Its exceptions share no base but Exception, and a model that it cannot follow may still run.
    try:
        return list(onnx.shape_inference.infer_shapes(model).graph.output)
    except Exception:
        return None


def _read_spec(role: str, value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind is None:
        raise Unsupported(f"{role} '{value.name}' declares no type", hint="export the model again with a typed output")
    if kind != "tensor_type":
        hint = "export a classifier with zipmap off" if kind in ("sequence_type", "map_type") else None
        raise Unsupported(f"{role} '{value.name}' is a {_KINDS.get(kind, kind)}, not a tensor", hint=hint)
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise Unsupported(
            f"{role} '{value.name}' declares no shape, so its number of dims is unknown",
            hint="export the model again with shapes declared",
        )
    try:
        dtype = from_onnx(tensor.elem_type)
    except Unsupported as error:
        raise Unsupported(f"{role} '{value.name}': {error.message}") from error
    return TensorSpec(value.name, dtype, tuple(_read_dim(value.name, dim) for dim in tensor.shape.dim))


def _read_dim(name: str, dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        if dim.dim_value < -1:
            raise InvalidInput(f"'{name}' has a dim of length {dim.dim_value}")
        # -1 is no length in ONNX, but exporters write it for a dynamic axis.
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return str(dim.dim_param) or None
