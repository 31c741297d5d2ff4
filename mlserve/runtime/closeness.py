"""How equal two outputs of one model are: bit for bit, within what float arithmetic may differ by, or not.

The same sum taken in another order, as another batch size or another machine may take it, differs in its last bits.
How many depends on the type, so the allowance is in units of the output's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, Any]]

ALLOWED = {"float64": 1e-9, "float32": 3e-5, "float16": 1e-2, "bfloat16": 5e-2}
"""The largest difference that counts as close, as part of the output's largest magnitude; other types must be equal."""


TINY = 1e-37
"""Below it float32 is subnormal, and no scale to measure by."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """``max_abs`` over all float outputs; ``max_ulp`` in units in the last place of each output's own type."""

    is_exact: bool
    is_close: bool
    max_abs: float
    max_ulp: int

    def merge(self, other: Closeness) -> Closeness:
        return Closeness(
            self.is_exact and other.is_exact,
            self.is_close and other.is_close,
            max(self.max_abs, other.max_abs),
            max(self.max_ulp, other.max_ulp),
        )


EXACT = Closeness(is_exact=True, is_close=True, max_abs=0.0, max_ulp=0)
DIFFERENT = Closeness(is_exact=False, is_close=False, max_abs=float("inf"), max_ulp=-1)


def closeness(expected: Arrays, actual: Arrays, *, allowance: float = 1.0) -> Closeness:
    """How close ``actual`` is to ``expected``: the same names, and for each the same shape and type.

    NaN equals NaN and an infinity itself. ``allowance`` multiplies what is allowed, for comparisons across machines.
    ``max_abs`` is infinite where shapes, types or non-float values differ.

    >>> a, b = np.float32([1, 2]), np.float32([1, 2.00001])
    >>> closeness({"y": a}, {"y": b}).is_close, closeness({"y": a}, {"y": a + 1}).is_close
    (True, False)
    """
    if expected.keys() != actual.keys():
        return DIFFERENT
    result = EXACT
    for name, array in expected.items():
        result = result.merge(_one(array, actual[name], allowance))
    return result


def _one(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any], allowance: float) -> Closeness:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return DIFFERENT
    allowed = ALLOWED.get(expected.dtype.name)
    if allowed is None:
        return EXACT if _identical(expected, actual) else DIFFERENT
    bits = np.dtype(f"i{expected.dtype.itemsize}")
    expected, actual = np.ascontiguousarray(expected).ravel(), np.ascontiguousarray(actual).ravel()
    if np.array_equal(expected.view(bits), actual.view(bits)):
        return EXACT
    wide_expected, wide_actual = expected.astype(np.float64), actual.astype(np.float64)
    is_finite = np.isfinite(wide_expected)
    if not np.array_equal(is_finite, np.isfinite(wide_actual)):
        return DIFFERENT
    if not np.array_equal(wide_expected[~is_finite], wide_actual[~is_finite], equal_nan=True):
        return DIFFERENT
    if not is_finite.any():
        return EXACT
    finite_expected, finite_actual = wide_expected[is_finite], wide_actual[is_finite]
    max_abs = float(np.max(np.abs(finite_expected - finite_actual)))
    scale = float(np.max(np.abs(finite_expected)))
    steps = np.abs(_ordered(expected, bits) - _ordered(actual, bits))[is_finite]
    return Closeness(
        is_exact=max_abs == 0.0,
        is_close=max_abs <= allowed * allowance * max(scale, TINY),
        max_abs=max_abs,
        max_ulp=int(np.max(steps)),
    )


def _identical(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> bool:
    return bool(np.array_equal(expected, actual, equal_nan=expected.dtype.kind == "c"))


def _ordered(array: np.ndarray[Any, Any], bits: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Floats as integers in the same order, neighbours one apart; Python's own integers where int64 could overflow."""
    raw = array.view(bits).astype(object if bits.itemsize == 8 else np.int64)
    lowest = -(2 ** (8 * bits.itemsize - 1))
    return np.where(raw < 0, lowest - raw, raw)
