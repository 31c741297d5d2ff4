"""What an open model computes in, as ``quantize`` names it: as its file says, else by its operators and tensors."""

from __future__ import annotations

from mlserve.core.dtypes import DType
from mlserve.runtime.model import OnnxModel

_METHOD = "mlserve.quantize.method"
"""The property in which ``quantize`` says how it made a model."""

_BY_OPERATOR = (
    ("int4-weights", ("MatMulNBits",)),
    ("int8-dynamic", ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")),
    ("int8", ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger")),
    ("int8-weights", ("DequantizeLinear",)),
)
_NAMES = ("fp16", *(name for name, _ in _BY_OPERATOR))


def precision_of(model: OnnxModel) -> str:
    """A name of ``compare.ladder.tolerances.PRECISIONS``; of a mixture the coarsest that is seen."""
    said = model.session.get_modelmeta().custom_metadata_map.get(_METHOD)
    if said in _NAMES:
        return str(said)
    for precision, operators in _BY_OPERATOR:
        if any(name in model.operators for name in operators):
            return precision
    floats = {spec.dtype for spec in (*model.signature.inputs, *model.signature.outputs) if spec.dtype.is_float}
    return "bf16" if DType.BFLOAT16 in floats else "fp16" if DType.FLOAT16 in floats else "fp32"
