"""The one table of element types: ONNX number, ONNX Runtime name, numpy type, Open Inference Protocol name.

Every ONNX type has a row, so that any model's signature can be read; a type without a protocol name cannot be served.
Sources: onnx.proto3 (TensorProto.DataType), ONNX Runtime's type strings, Open Inference Protocol (tensor data types).
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlserve.errors import Unsupported

if TYPE_CHECKING:
    import numpy as np


class DType(StrEnum):
    """An element type, named as numpy (or ml_dtypes) names it; its value is what is stored and printed."""

    FLOAT32 = "float32"
    UINT8 = "uint8"
    INT8 = "int8"
    UINT16 = "uint16"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    STRING = "string"
    BOOL = "bool"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    UINT32 = "uint32"
    UINT64 = "uint64"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    BFLOAT16 = "bfloat16"
    FLOAT8E4M3FN = "float8_e4m3fn"
    FLOAT8E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8E5M2 = "float8_e5m2"
    FLOAT8E5M2FNUZ = "float8_e5m2fnuz"
    UINT4 = "uint4"
    INT4 = "int4"
    FLOAT4E2M1 = "float4_e2m1fn"
    FLOAT8E8M0 = "float8_e8m0fnu"
    UINT2 = "uint2"
    INT2 = "int2"
    FLOAT6E2M3 = "float6_e2m3fn"
    FLOAT6E3M2 = "float6_e3m2fn"

    @property
    def onnx(self) -> int:
        """The number in ``TensorProto.DataType``."""
        return _ONNX[self]

    @property
    def ort(self) -> str:
        """What ONNX Runtime prints for a tensor of this type.

        >>> DType.FLOAT32.ort
        'tensor(float)'
        """
        return f"tensor({_ORT[self]})"

    @property
    def oip(self) -> str | None:
        """The Open Inference Protocol name, or None where the protocol has none.

        >>> DType.STRING.oip, DType.COMPLEX64.oip
        ('BYTES', None)
        """
        return _OIP.get(self)

    @property
    def served(self) -> str:
        """The Open Inference Protocol name. Raises Unsupported where the protocol has none."""
        if self.oip is None:
            raise Unsupported(f"a tensor of {self.value} has no Open Inference Protocol type")
        return self.oip

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type that holds it in memory; strings are held as objects, small types through ml_dtypes."""
        import numpy as np

        if self is DType.STRING:
            return np.dtype(object)
        if self in _ML_DTYPES:
            import ml_dtypes

            return np.dtype(getattr(ml_dtypes, self.value))
        return np.dtype(self.value)

    @property
    def itemsize(self) -> int:
        """Bytes of one element on the wire; 0 for strings, whose length varies."""
        return 0 if self is DType.STRING else self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        return self.value.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        return self.value.startswith(("int", "uint"))


_ONNX: dict[DType, int] = {dtype: number for number, dtype in enumerate(DType, start=1)}
_ORT: dict[DType, str] = {dtype: dtype.value for dtype in DType} | {
    DType.FLOAT32: "float",
    DType.FLOAT64: "double",
    DType.FLOAT8E4M3FN: "float8e4m3fn",
    DType.FLOAT8E4M3FNUZ: "float8e4m3fnuz",
    DType.FLOAT8E5M2: "float8e5m2",
    DType.FLOAT8E5M2FNUZ: "float8e5m2fnuz",
    DType.FLOAT4E2M1: "float4e2m1",
    DType.FLOAT8E8M0: "float8e8m0",
    DType.FLOAT6E2M3: "float6e2m3",
    DType.FLOAT6E3M2: "float6e3m2",
}
_OIP: dict[DType, str] = {
    DType.BOOL: "BOOL",
    DType.UINT8: "UINT8",
    DType.UINT16: "UINT16",
    DType.UINT32: "UINT32",
    DType.UINT64: "UINT64",
    DType.INT8: "INT8",
    DType.INT16: "INT16",
    DType.INT32: "INT32",
    DType.INT64: "INT64",
    DType.FLOAT16: "FP16",
    DType.FLOAT32: "FP32",
    DType.FLOAT64: "FP64",
    DType.BFLOAT16: "BF16",
    DType.STRING: "BYTES",
}
_ML_DTYPES = frozenset(
    {
        DType.BFLOAT16,
        DType.FLOAT8E4M3FN,
        DType.FLOAT8E4M3FNUZ,
        DType.FLOAT8E5M2,
        DType.FLOAT8E5M2FNUZ,
        DType.UINT4,
        DType.INT4,
        DType.FLOAT4E2M1,
        DType.FLOAT8E8M0,
        DType.UINT2,
        DType.INT2,
        DType.FLOAT6E2M3,
        DType.FLOAT6E3M2,
    }
)
_BY_ONNX = {number: dtype for dtype, number in _ONNX.items()}
_BY_ORT = {dtype.ort: dtype for dtype in DType}
_BY_OIP = {name: dtype for dtype, name in _OIP.items()}


def from_onnx(number: int) -> DType:
    """The type of ``TensorProto.DataType`` ``number``. Raises Unsupported for one we don't know.

    >>> from_onnx(1)
    <DType.FLOAT32: 'float32'>
    """
    try:
        return _BY_ONNX[number]
    except KeyError:
        raise Unsupported(f"ONNX element type {number} is not known here") from None


def from_ort(text: str) -> DType:
    """The type that ONNX Runtime prints as ``text``. Raises Unsupported for sequences, maps and optionals.

    >>> from_ort("tensor(int64)")
    <DType.INT64: 'int64'>
    """
    try:
        return _BY_ORT[text]
    except KeyError:
        raise Unsupported(f"'{text}' is not a tensor type") from None


def from_oip(name: str) -> DType:
    """The type that the Open Inference Protocol calls ``name``. Raises Unsupported for any other name.

    >>> from_oip("FP16")
    <DType.FLOAT16: 'float16'>
    """
    try:
        return _BY_OIP[name]
    except KeyError:
        raise Unsupported(f"'{name}' is not an Open Inference Protocol datatype") from None


def from_numpy(dtype: np.dtype[Any]) -> DType:
    """The type of a numpy array; objects and every kind of text are strings. Raises Unsupported otherwise.

    >>> import numpy as np
    >>> from_numpy(np.dtype("U8")), from_numpy(np.dtype("f4"))
    (<DType.STRING: 'string'>, <DType.FLOAT32: 'float32'>)
    """
    if dtype.kind in "OUST":
        return DType.STRING
    try:
        return DType(dtype.name)
    except ValueError:
        raise Unsupported(f"numpy type '{dtype}' has no ONNX counterpart") from None
