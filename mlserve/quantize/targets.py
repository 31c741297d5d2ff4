"""Which method must not go where: what each target has no kernels for, and what suits it instead.

Source: the kernels that ONNX Runtime 1.31 has (onnxruntime#12229, #10267, #24807 report what happens without one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Target = Literal["cpu", "cuda", "tensorrt"]

_GPU = "--to fp16 suits a GPU"

UNSUITED: Mapping[Target, Mapping[str, str]] = {
    "cpu": {},
    "cuda": {
        "int8": (
            "static INT8 is slower on cuda: ONNX Runtime has no CUDA kernel for QLinearConv and QLinearMatMul, so it "
            f"computes in FP32 after all; {_GPU}, and --target tensorrt runs static INT8"
        ),
        "int8-dynamic": (
            "dynamic INT8 is slower on cuda: ONNX Runtime has no CUDA kernel for DynamicQuantizeLinear, so every such "
            f"layer goes through the CPU; {_GPU}"
        ),
    },
    "tensorrt": {
        "int8-dynamic": (
            "dynamic INT8 is slower on tensorrt: neither TensorRT nor CUDA has a kernel for DynamicQuantizeLinear, so "
            f"every such layer goes through the CPU; {_GPU}, and --to int8 is what TensorRT takes"
        ),
        "int8-weights": (
            "weight-only INT8 is slower on tensorrt: it does not know MatMulNBits, so every such layer leaves its "
            "engine for CUDA; --target cuda runs it, --to fp16 and --to int8 suit TensorRT"
        ),
        "int4-weights": (
            "weight-only INT4 is slower on tensorrt: it does not know MatMulNBits, so every such layer leaves its "
            "engine for CUDA; --target cuda runs it, --to fp16 and --to int8 suit TensorRT"
        ),
    },
}
"""Why a method is refused for a target; a method that is not named may go there, if the gate finds that it gains."""


def unsuited(method: str, target: Target) -> list[str]:
    """The reason against ``method`` on ``target``; empty if there is none.

    >>> unsuited("fp16", "cuda"), len(unsuited("int8", "cuda"))
    ([], 1)
    """
    reason = UNSUITED[target].get(method)
    return [reason] if reason else []
