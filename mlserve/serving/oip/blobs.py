"""Binary tensors: little-endian, row-major, no padding; strings as repeated (uint32 length, bytes).

Source: Triton's binary tensor data extension.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.errors import InvalidInput

_LENGTH = struct.Struct("<I")


def array_of(blob: memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The tensor in ``blob``, without a copy where the bytes lie aligned; strings as an object array of ``str``.

    Raises InvalidInput if the bytes are not exactly those of ``shape``.
    """
    if spec.dtype is DType.STRING:
        return _strings(blob, spec.name, shape)
    expected = prod(shape) * spec.dtype.itemsize
    if len(blob) != expected:
        raise InvalidInput(
            f"input '{spec.name}' has {len(blob)} bytes of data, shape {list(shape)} needs {expected}",
        )
    if spec.dtype is DType.BOOL:
        # A byte beyond 1 is no bool to numpy nor to the kernels behind it.
        return shaped(np.not_equal(np.frombuffer(blob, dtype=np.uint8), 0), shape, spec.name)
    array = shaped(np.frombuffer(blob, dtype=spec.dtype.numpy), shape, spec.name)
    # Vectorised kernels may read aligned words; the blob begins wherever the JSON before it ends.
    return array if array.flags.aligned else array.copy()


def _strings(blob: memoryview, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    texts: list[str] = []
    at, end = 0, len(blob)
    while at < end:
        if end - at < _LENGTH.size:
            raise InvalidInput(f"input '{name}' ends inside the length of element {len(texts)}")
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size
        if length > end - at:
            raise InvalidInput(f"element {len(texts)} of input '{name}' has {length} bytes, only {end - at} are left")
        try:
            texts.append(str(blob[at : at + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidInput(f"element {len(texts)} of input '{name}' is not UTF-8") from error
        at += length
    if len(texts) != prod(shape):
        raise InvalidInput(f"input '{name}' has {len(texts)} strings, shape {list(shape)} needs {prod(shape)}")
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return shaped(array, shape, name)


def shaped(values: np.ndarray[Any, Any], shape: tuple[int, ...], name: str) -> np.ndarray[Any, Any]:
    """``values``, as many as ``shape`` has, in that shape. Raises InvalidInput for shapes that no array can have.

    Those have too many axes, or no elements and an axis beyond all memory.
    """
    try:
        return values.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"input '{name}' has a shape of {len(shape)} axes that no tensor can have") from error


def blob_of(array: np.ndarray[Any, Any], dtype: DType) -> bytes | memoryview:
    """The bytes of ``array``, which stays shared with it where it is contiguous."""
    if dtype is DType.STRING:
        parts: list[bytes] = []
        for value in array.ravel().tolist():
            text = value if isinstance(value, bytes) else str(value).encode()
            parts += (_LENGTH.pack(len(text)), text)
        return b"".join(parts)
    if not array.size:
        return b""  # memoryview cannot cast what has no elements
    contiguous = np.ascontiguousarray(array)
    return contiguous.reshape(-1).view(np.uint8).data


def implied_shape(spec: TensorSpec, blob_bytes: int) -> tuple[int, ...]:
    """The shape of a raw-binary request, which states none: one dynamic dim is worked out from the size.

    Of several dynamic dims the first is a batch of one. Raises InvalidInput where the size leaves it open.

    >>> implied_shape(TensorSpec("x", DType.FLOAT32, ("batch", 30)), 240)
    (2, 30)
    """
    open_dims = [axis for axis, dim in enumerate(spec.dims) if not isinstance(dim, int)]
    shape = [dim if isinstance(dim, int) else 1 for dim in spec.dims]
    if spec.dtype is DType.STRING:
        return tuple(shape)
    if len(open_dims) > 1 and open_dims[0] == 0:
        open_dims = open_dims[1:]
    if len(open_dims) > 1:
        raise InvalidInput(f"input '{spec.name}' has {len(open_dims)} dynamic dims; send its shape as JSON")
    row_bytes = prod(shape) * spec.dtype.itemsize
    if open_dims and row_bytes:
        shape[open_dims[0]] = blob_bytes // row_bytes
    return tuple(shape)
