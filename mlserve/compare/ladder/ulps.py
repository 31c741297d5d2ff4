"""How many floating-point numbers lie between two: the distance in units in the last place."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.compare.kinds import kind_of

Array = np.ndarray[Any, np.dtype[Any]]

_INTEGERS: dict[int, Any] = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def ulp_distance(one: Array, other: Array) -> Array:
    """The number of steps to the next representable value that lead from ``one`` to ``other``, as uint64.

    Both have one shape and hold floats of any width up to 64 bits; of two widths the coarser type counts, to which the
    other is rounded. 0 and -0 are the same; an infinity is one step beyond the largest number. NaN is nowhere, and what
    is said of it means nothing.

    Source: Dawson, Comparing Floating Point Numbers (2012): the bits of IEEE numbers, as sign and magnitude, are in the
    numbers' own order.

    >>> ulp_distance(np.float32([1.0, -0.0, -1e-45]), np.float32([1.0000001, 0.0, 1e-45])).tolist()
    [1, 0, 2]
    """
    if one.dtype != other.dtype:
        coarse = min((one.dtype, other.dtype), key=_fineness)
        with np.errstate(over="ignore"):
            one, other = one.astype(coarse), other.astype(coarse)
    a, b = _ordered(one), _ordered(other)
    # The difference of two int64 may need 64 bits without a sign, which is what wrapping arithmetic leaves.
    with np.errstate(over="ignore"):
        return np.asarray(np.where(a > b, a - b, b - a).view(np.uint64))


def has_ulps(dtype: Any) -> bool:
    """Whether ``ulp_distance`` can be told of this type: a float of 8, 16, 32 or 64 bits."""
    return kind_of(dtype) == "float" and dtype.itemsize in _INTEGERS


def _ordered(values: Array) -> Array:
    """int64 in the order of the numbers, 0 for both zeros."""
    integer = _INTEGERS[values.dtype.itemsize]
    bits = np.ascontiguousarray(values).view(integer).reshape(values.shape)
    wide = bits.astype(np.int64)
    return np.where(bits < 0, np.int64(np.iinfo(integer).min) - wide, wide)


def _fineness(dtype: np.dtype[Any]) -> int:
    """More for a type with the finer step at 1."""
    try:
        return int(np.finfo(dtype).nmant)
    except ValueError:  # numpy itself knows nothing of bfloat16 and float8
        import ml_dtypes

        return int(ml_dtypes.finfo(dtype).nmant)  # type: ignore[no-untyped-call]  # ml_dtypes left it out
