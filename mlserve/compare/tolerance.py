"""How far one set of outputs is from another, row by row, in figures that merge over batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.compare.kinds import as_comparable, is_alike, kind_of

Array = np.ndarray[Any, np.dtype[Any]]

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, slots=True)
class Difference:
    """What ``compare`` found; all figures are finite.

    ``rows_over`` counts rows with any value out of tolerance, ``identical_rows`` those whose every output is equal bit
    for bit. ``max_abs`` and ``max_rel`` (of the expected value, where that is not 0) are taken over float values
    finite on both sides. ``worst_row`` is the row farthest out of tolerance, or nearest to it when none is out, by
    ``worst_excess`` = |difference| - tolerance; None when no row differs.
    """

    rows: int = 0
    rows_over: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    worst_row: int | None = None
    identical_rows: int = 0
    worst_excess: float = -_LARGEST

    @property
    def rows_within(self) -> int:
        return self.rows - self.rows_over

    def merge(self, other: Difference) -> Difference:
        """The difference over the rows of both."""
        worse = other if other.worst_excess > self.worst_excess else self
        return Difference(
            rows=self.rows + other.rows,
            rows_over=self.rows_over + other.rows_over,
            max_abs=max(self.max_abs, other.max_abs),
            max_rel=max(self.max_rel, other.max_rel),
            worst_row=worse.worst_row,
            identical_rows=self.identical_rows + other.identical_rows,
            worst_excess=worse.worst_excess,
        )


def compare(
    expected: Mapping[str, Array], actual: Mapping[str, Array], *, rtol: float, atol: float, start: int = 0
) -> Difference:
    """How ``actual`` differs from ``expected`` over all outputs of ``expected``.

    A float is within tolerance if ``|actual - expected| <= atol + rtol * |expected|``; NaN equals NaN and an infinity
    itself. Integers, booleans and strings are within tolerance only if equal. An output that is missing, of another
    shape or of another kind puts every row over. Rows lie on axis 0 of the first output that has one; an output without
    those rows counts for all of them at once. ``start`` is the number of the first row.

    >>> found = compare({"y": np.array([1.0, 2.0])}, {"y": np.array([1.0, 2.5])}, rtol=0, atol=0.1)
    >>> found.rows, found.rows_over, found.max_abs, found.worst_row, found.identical_rows
    (2, 1, 0.5, 1, 1)
    """
    rows = _count_rows(expected)
    identical = np.ones(rows, dtype=bool)
    excess = np.full(rows, -_LARGEST)
    max_abs = max_rel = 0.0
    for name, output in expected.items():
        wanted, given = np.asarray(output), np.asarray(actual.get(name))
        if name not in actual or not is_alike(wanted, given):
            identical[:] = False
            excess[:] = _LARGEST
            continue
        identical &= by_row(bit_equal(wanted, given), rows).all(axis=1)
        over, gap, relative = _excess(wanted, given, rtol, atol)
        max_abs, max_rel = max(max_abs, gap), max(max_rel, relative)
        excess = np.maximum(excess, by_row(over, rows).max(axis=1, initial=-_LARGEST))
    worst = int(excess.argmax()) if rows and excess.max() > -_LARGEST else None
    return Difference(
        rows=rows,
        rows_over=int((excess > 0).sum()),
        max_abs=max_abs,
        max_rel=max_rel,
        worst_row=None if worst is None else start + worst,
        identical_rows=int(identical.sum()),
        worst_excess=-_LARGEST if worst is None else float(excess[worst]),
    )


def _count_rows(outputs: Mapping[str, Array]) -> int:
    ranked = [np.shape(output) for output in outputs.values() if np.ndim(output)]
    return ranked[0][0] if ranked else min(len(outputs), 1)


def by_row(values: Array, rows: int) -> Array:
    """``values`` as (rows, values of the row); those of an output without these rows are repeated for each."""
    if values.ndim and values.shape[0] == rows:
        return values.reshape(rows, -1) if values.size else values.reshape(rows, 0)
    return np.broadcast_to(values.reshape(1, -1), (rows, values.size))


def bit_equal(wanted: Array, given: Array) -> Array:
    """Which values have the same bits, and so the same type; text is equal as text. Both have one shape."""
    if wanted.dtype != given.dtype or wanted.dtype.kind in "OUS":
        same_kind_of_text = kind_of(wanted.dtype) == "text"
        return _equal(wanted, given) if same_kind_of_text else np.zeros(wanted.shape, dtype=bool)
    width = wanted.dtype.itemsize
    if width in (1, 2, 4, 8):
        bits = [np.ascontiguousarray(a).view(f"u{width}").reshape(a.shape) for a in (wanted, given)]
        return np.asarray(bits[0] == bits[1])
    as_bytes = [np.frombuffer(a.tobytes(), dtype=np.uint8).reshape((*a.shape, width)) for a in (wanted, given)]
    return np.asarray((as_bytes[0] == as_bytes[1]).all(axis=-1))


def _equal(wanted: Array, given: Array) -> Array:
    return np.asarray(as_comparable(wanted) == as_comparable(given), dtype=bool)


def _excess(wanted: Array, given: Array, rtol: float, atol: float) -> tuple[Array, float, float]:
    """How far out of tolerance each value is (``-_LARGEST`` where equal), and the largest absolute and relative gap."""
    equal = _equal(wanted, given)
    if kind_of(wanted.dtype) not in ("float", "complex"):
        return np.where(equal, -_LARGEST, _LARGEST), 0.0, 0.0
    e, a = as_comparable(wanted), as_comparable(given)
    finite = np.isfinite(e) & np.isfinite(a)
    with np.errstate(all="ignore"):
        gap = np.minimum(np.abs(a - e), _LARGEST, where=finite, out=np.zeros(e.shape))
        size = np.abs(e)
        relative = np.divide(gap, size, where=finite & (size > 0), out=np.zeros(e.shape))
        over = np.where(finite, gap - (atol + rtol * size), _LARGEST)
    both_nan = np.isnan(e) & np.isnan(a)
    over = np.where(equal | both_nan, -_LARGEST, np.clip(over, -_LARGEST, _LARGEST))
    return over, float(gap.max(initial=0.0)), float(min(relative.max(initial=0.0), _LARGEST))
