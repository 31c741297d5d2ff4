"""What keeps a model from having fixed buffers for each size, and its launches from being captured as CUDA graphs.

A captured graph replays the same kernels on the same addresses. So shapes must follow from the number of rows alone,
nothing may branch on values, and every node must run on the device. Pure: what the session then says comes on top.
Source: onnxruntime.ai, CUDA execution provider, "Using CUDA Graphs".
"""

from __future__ import annotations

from collections.abc import Collection

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.runtime import ortvalues
from mlserve.runtime.operators import CONTROL_FLOW

DATA_SHAPED = frozenset({"NonZero", "Unique", "Compress", "StringSplit", "NonMaxSuppression"})
"""Operators whose outputs are as long as the values say."""

ON_CPU = frozenset(
    {"StringNormalizer", "TfIdfVectorizer", "RegexFullMatch", "StringConcat", "LabelEncoder", "Optional"}
)
"""Operators without a GPU kernel in ONNX Runtime; other nodes left on the CPU show when the session opens."""


def why_not_bound(signature: Signature) -> str | None:
    """Why buffers cannot be kept for each number of rows; None where they can.

    They can where axis 0 of every tensor is the batch and all other axes are fixed.
    """
    for role, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            reason = _why_not(spec)
            if reason:
                return f"{role} '{spec.name}' {reason}"
    return None if signature.inputs else "the model has no inputs"


def why_not_captured(signature: Signature, operators: Collection[str]) -> str | None:
    """Why runs of the model cannot be captured as a CUDA graph; None where nothing is known against it.

    >>> why_not_captured(Signature((), ()), {"Loop"})
    'Loop runs as often as values say'
    """
    for names, why in (
        (CONTROL_FLOW, "runs as often as values say"),
        (DATA_SHAPED, "gives a tensor as long as values say"),
        (ON_CPU, "runs on the CPU"),
    ):
        found = sorted(names.intersection(operators))
        if found:
            return f"{found[0]} {why}"
    return why_not_bound(signature)


def _why_not(spec: TensorSpec) -> str | None:
    if spec.dtype is DType.STRING:
        return "has strings"
    if ortvalues.is_needed(spec.dtype):
        return f"is {spec.dtype.value}, which numpy has not"
    if not spec.dims or isinstance(spec.dims[0], int):
        return "has no batch axis"
    at = next((number for number, dim in enumerate(spec.dims) if number and not isinstance(dim, int)), None)
    return None if at is None else f"has another dynamic axis than the batch ({spec.dims[at] or at})"
