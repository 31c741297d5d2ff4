"""What an array holds, as far as comparing goes, and a form of it in which equal values are equal."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np

from mlserve.core.dtypes import DType, from_numpy
from mlserve.errors import Unsupported

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["float", "integer", "text", "complex", "other"]


@lru_cache(maxsize=256)  # asked for many times a batch, and numpy takes microseconds to name a type
def kind_of(dtype: np.dtype[Any]) -> Kind:
    """Float of any width (bfloat16 and float8 too), integer or boolean, text, complex, or other (dates, records).

    >>> kind_of(np.dtype("float16")), kind_of(np.dtype(bool)), kind_of(np.dtype("U3"))
    ('float', 'integer', 'text')
    """
    if dtype.kind == "c":
        return "complex"
    try:
        known = from_numpy(dtype)
    except Unsupported:
        return "float" if dtype.kind == "f" else "other"
    if known is DType.STRING:
        return "text"
    return "float" if known.is_float else "integer"


def is_alike(one: Array, other: Array) -> bool:
    """Whether two arrays have one shape and one kind, so that comparing their values means something."""
    return np.shape(one) == np.shape(other) and kind_of(np.asarray(one).dtype) == kind_of(np.asarray(other).dtype)


def as_comparable(array: Array) -> Array:
    """``array`` as float64, complex128, text objects, or integers that compare exactly across signs.

    Bytes are read as UTF-8, so that ``b"a"`` equals ``"a"``.
    """
    kind = kind_of(array.dtype)
    if kind == "float":
        return array.astype(np.float64)
    if kind == "complex":
        return array.astype(np.complex128)
    if kind == "text":
        return _as_text(array)
    if kind == "integer" and array.dtype.kind not in "biu":
        return array.astype(np.int64)
    return array


def _as_text(array: Array) -> Array:
    texts = np.empty(array.size, dtype=object)
    texts[:] = [v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else v for v in array.ravel().tolist()]
    return texts.reshape(array.shape)
