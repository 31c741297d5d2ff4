"""Tensors of types that ONNX Runtime runs but does not exchange with numpy: BF16, the 8-bit floats, the 4-bit integers.

They cross as their bits: ONNX Runtime is told the type by its ONNX number, and its answer is copied from its memory.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnxruntime as ort

from mlserve.core.dtypes import DType, from_numpy, from_ort
from mlserve.errors import InvalidInput, Unsupported

_PACKED = frozenset({DType.INT4, DType.UINT4, DType.INT2, DType.UINT2, DType.FLOAT4E2M1})
_AS_BITS = frozenset(
    {
        DType.BFLOAT16,
        DType.FLOAT8E4M3FN,
        DType.FLOAT8E4M3FNUZ,
        DType.FLOAT8E5M2,
        DType.FLOAT8E5M2FNUZ,
        DType.FLOAT8E8M0,
    }
)


def is_needed(dtype: DType) -> bool:
    """Whether tensors of ``dtype`` cannot be passed as plain arrays. Raises Unsupported for types below a byte."""
    if dtype in _PACKED:
        raise Unsupported(f"a tensor of {dtype.value} cannot be passed in or out of a model here")
    return dtype in _AS_BITS


def to_value(array: np.ndarray[Any, Any], dtype: DType | None) -> ort.OrtValue:
    """``array`` as ONNX Runtime's value; it may reference the array's memory, so keep both until the run is over.

    Raises InvalidInput for an array that is not of ``dtype`` (None: a name that the model does not know).
    """
    if dtype is None or not is_needed(dtype):
        return ort.OrtValue.ortvalue_from_numpy(array)
    if from_numpy(array.dtype) is not dtype:
        raise InvalidInput(f"a tensor of {array.dtype} was given where the model takes {dtype.value}")
    bits = array.view(np.dtype(f"u{array.dtype.itemsize}"))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, dtype.onnx)


def to_array(value: ort.OrtValue) -> np.ndarray[Any, Any]:
    """A copy of ``value`` as an array of its own type."""
    dtype = from_ort(value.data_type())
    if not is_needed(dtype):
        array: np.ndarray[Any, Any] = value.numpy()
        return array
    size_bytes = value.tensor_size_in_bytes()
    bits = ctypes.string_at(value.data_ptr(), size_bytes) if size_bytes else b""
    return np.frombuffer(bits, dtype.numpy).reshape(value.shape())
