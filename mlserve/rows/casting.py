"""A raw array as the element type that a model takes, never with loss beyond the rounding of a float."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

_SHOWN_CHARS = 60


def cast(array: Array, dtype: DType, *, where: str, start: int) -> Array:
    """``array`` as ``dtype``; axis 0 is rows, the first being row ``start`` (from 0).

    A float may be rounded to a narrower one, an integer may become a float, a float an integer if it is whole, numbers
    0 and 1 may become booleans. Raises InvalidInput, naming ``where`` and the row, for a null where there can be none,
    for text in place of numbers or the reverse, and for a value out of the type's range.
    """
    if dtype is DType.STRING:
        _require(_is_text(array), array, "not text", where, start)
        return array
    if array.dtype == dtype.numpy:
        return array
    if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize and dtype.numpy.kind == "V":
        # numpy's own files keep a bfloat16 array as nameless bytes of the same width.
        return array.view(dtype.numpy)
    numbers = _as_numbers(array, where, start)
    if numbers.dtype.kind == "c" and dtype.numpy.kind != "c":
        _require(numbers.imag == 0, numbers, f"complex and not {dtype}", where, start)
        numbers = numbers.real
    if dtype is DType.BOOL:
        _require((numbers == 0) | (numbers == 1), numbers, "not true or false", where, start)
    elif dtype.is_integer:
        _require(_fits_integer(numbers, dtype), numbers, f"not a whole number that fits {dtype}", where, start)
    with np.errstate(over="ignore", invalid="ignore"):
        result = numbers.astype(dtype.numpy)
    if dtype.is_float:
        # An overflow shows as infinity, or as NaN in the types that have none.
        kept = np.isfinite(result.astype(np.float64)) | ~np.isfinite(numbers.astype(np.float64))
        _require(kept, numbers, f"out of the range of {dtype}", where, start)
    return result


def _is_text(array: Array) -> Array:
    if array.dtype.kind != "O":
        return np.zeros(array.shape, dtype=bool)
    return np.array([isinstance(v, str) for v in array.ravel().tolist()], dtype=bool).reshape(array.shape)


def _as_numbers(array: Array, where: str, start: int) -> Array:
    """``array`` if it holds numbers; objects are booleans with nulls among them, or text."""
    if array.dtype.kind in "biufc":
        return array
    if array.dtype.kind == "V" and _is_named(array.dtype):
        return array.astype(np.float64)
    if array.dtype.kind != "O":
        raise InvalidInput(f"{where} holds {array.dtype}, not numbers")
    flat = array.ravel().tolist()
    is_number = np.array([v is None or isinstance(v, bool) for v in flat], dtype=bool).reshape(array.shape)
    _require(is_number, array, "not a number", where, start)
    return np.array([np.nan if v is None else float(v) for v in flat]).reshape(array.shape)


def _is_named(dtype: np.dtype[Any]) -> bool:
    return not dtype.name.startswith("void")


def _fits_integer(numbers: Array, dtype: DType) -> Array:
    low, high = _integer_range(dtype)
    if numbers.dtype.kind == "f":
        # As floats: 2**63 is exact, 2**63 - 1 is not.
        whole = np.isfinite(numbers) & (np.trunc(numbers) == numbers)
        return np.asarray(whole & (numbers >= float(low)) & (numbers < float(high + 1)))
    if numbers.dtype.kind == "b":
        return np.ones(numbers.shape, dtype=bool)
    bounds = np.iinfo(numbers.dtype)
    return np.asarray((numbers >= max(low, bounds.min)) & (numbers <= min(high, bounds.max)))


def _integer_range(dtype: DType) -> tuple[int, int]:
    bits = int(dtype.value.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if dtype.value.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _require(holds: Array, array: Array, fact: str, where: str, start: int) -> None:
    """Raises InvalidInput for the first value for which ``holds`` is false."""
    if holds.all():
        return
    index = tuple(int(i) for i in np.argwhere(~np.atleast_1d(holds))[0])
    value = np.atleast_1d(array)[index]
    is_null = value is None or value != value
    shown = "null" if is_null else repr(value.item() if isinstance(value, np.generic) else value)
    shown = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "…"
    raise InvalidInput(f"row {start + index[0] + 1} of {where}: {shown} is {fact}")
