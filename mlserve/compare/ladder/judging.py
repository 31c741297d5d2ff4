"""Pairs judged row by row, once for all rungs: equal to the bit, within tolerance, decided alike, how far apart.

What is bit-equal costs one pass over the bits; all other work is done on the rows that are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlserve.compare.kinds import as_comparable, kind_of
from mlserve.compare.labels import decided, deciding_output, decisions, is_single
from mlserve.compare.ladder.tolerances import Tolerance, tolerance_of
from mlserve.compare.ladder.ulps import has_ulps, ulp_distance
from mlserve.compare.pairs import Pairs
from mlserve.compare.tolerance import bit_equal, by_row
from mlserve.errors import Unsupported

Array = np.ndarray[Any, np.dtype[Any]]
Problem = Literal["missing", "kind", "shape"]

LARGEST = float(np.finfo(np.float64).max)
"""The distance of what cannot be measured: NaN or infinity on one side only, no output or one of another shape."""

_CHUNK_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class Limits:
    """What to tolerate: the user's own numbers, or the defaults of the two precisions (``tolerances.py``)."""

    atol: float | None = None
    rtol: float | None = None
    precisions: tuple[str, str] = ("fp32", "fp32")

    def of(self, dtype: np.dtype[Any]) -> Tolerance:
        return tolerance_of(dtype, self.precisions, atol=self.atol, rtol=self.rtol)


@dataclass(slots=True)
class JudgedOutput:
    """One output. ``identical`` and ``within`` (rows,) bool, ``distance`` (rows,) ≥ 0; ``problem`` where nothing can be
    compared. The largest gaps are over values finite on both sides; ``nan_mismatches`` counts values."""

    name: str
    dtype: np.dtype[Any]
    tolerance: Tolerance
    identical: Array
    within: Array
    distance: Array
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: int = 0
    nan_mismatches: int = 0
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What both sides decide: ``wanted`` (rows, …), ``given`` of the same shape, or None where it cannot be compared.

    ``same`` (rows, …) bool. ``undecidable`` says why the whole output decides nothing, though its rows were compared.
    """

    output: str
    wanted: Array
    given: Array | None
    same: Array
    is_single: bool
    undecidable: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """``pairs`` and what is known of each row: (rows,) arrays.

    ``distance`` is the largest ``|actual - expected| ÷ max(1, |expected|)`` of the row's values; 1 for a label, text or
    integer that changed. ``changed`` are rows with a position that was decided otherwise.
    """

    pairs: Pairs
    rows: int
    outputs: tuple[JudgedOutput, ...]
    identical: Array
    within: Array
    distance: Array
    decision: Decided | None
    changed: Array

    @property
    def row_weights(self) -> Array | None:
        """(rows,) what ``pairs.weights`` says of each row's request; None where all are 1."""
        weights = self.pairs.weights
        return None if weights is None else np.repeat(np.asarray(weights, np.float64), self.pairs.rows_each)


def judge(pairs: Pairs, limits: Limits) -> Judged:
    """Every row of ``pairs``, judged over all outputs of ``pairs.expected``; what only ``actual`` has counts nothing.

    An output without the rows on its first axis counts for all rows at once.
    """
    rows = pairs.rows
    outputs = tuple(
        _output(name, np.asarray(output), pairs.actual, rows, limits) for name, output in pairs.expected.items()
    )
    identical, within, distance = np.ones(rows, bool), np.ones(rows, bool), np.zeros(rows)
    for output in outputs:
        identical &= output.identical
        within &= output.within
        np.maximum(distance, output.distance, out=distance)
    decision = _decision(pairs, {output.name: output for output in outputs})
    changed = np.zeros(rows, bool)
    if decision is not None and not identical.all():
        changed = ~by_row(decision.same, rows).all(axis=1)
    return Judged(pairs, rows, outputs, identical, within, distance, decision, changed)


def _decision(pairs: Pairs, outputs: Mapping[str, JudgedOutput]) -> Decided | None:
    try:
        name = deciding_output(pairs.expected)
    except Unsupported:
        return None
    output, undecidable = np.asarray(pairs.expected[name]), None
    try:
        wanted = decisions(name, output)
    except Unsupported as error:
        wanted, undecidable = decided(output), error.message
    judged = outputs[name]
    if judged.problem:
        return Decided(name, wanted, None, np.zeros(wanted.shape, bool), is_single(output), undecidable)
    if judged.identical.all():
        return Decided(name, wanted, wanted, np.ones(wanted.shape, bool), is_single(output), undecidable)
    given = decided(np.asarray(pairs.actual[name]))
    return Decided(name, wanted, given, np.asarray(wanted == given, bool), is_single(output), undecidable)


def _output(name: str, wanted: Array, actual: Mapping[str, Array], rows: int, limits: Limits) -> JudgedOutput:
    tolerance = limits.of(wanted.dtype)
    nothing, all_rows = np.zeros(rows, bool), np.ones(rows, bool)
    problem = _problem(name, wanted, actual)
    if problem:
        far = np.full(rows, LARGEST)
        return JudgedOutput(name, wanted.dtype, tolerance, nothing, nothing.copy(), far, problem=problem)
    given = np.asarray(actual[name])
    equal = bit_equal(wanted, given)
    judged = JudgedOutput(name, wanted.dtype, tolerance, all_rows, all_rows.copy(), np.zeros(rows))
    if equal.all():
        return judged
    judged.identical = by_row(equal, rows).all(axis=1)
    different = np.flatnonzero(~judged.identical)
    has_rows = wanted.ndim > 0 and len(wanted) == rows
    step = max(1, _CHUNK_VALUES // max(1, wanted.size // rows)) if has_rows else len(different)
    for at in range(0, len(different), step):
        part = different[at : at + step]
        one, other = (side[part] if has_rows else side.reshape(1, -1) for side in (wanted, given))
        _measure(judged, part, one.reshape(len(one), -1), other.reshape(len(other), -1))
    return judged


def _problem(name: str, wanted: Array, actual: Mapping[str, Array]) -> Problem | None:
    if name not in actual:
        return "missing"
    given = np.asarray(actual[name])
    if kind_of(given.dtype) != kind_of(wanted.dtype):
        return "kind"
    return "shape" if given.shape != wanted.shape else None


def _measure(judged: JudgedOutput, part: Array, wanted: Array, given: Array) -> None:
    """Rows ``part`` of ``judged`` from both sides as (rows, values)."""
    e, a = as_comparable(wanted), as_comparable(given)
    if kind_of(wanted.dtype) not in ("float", "complex"):
        same = np.asarray(e == a, bool).all(axis=1)
        judged.within[part] = same
        judged.distance[part] = np.where(same, 0.0, 1.0)
        return
    with np.errstate(all="ignore"):
        gap, size = np.abs(a - e), np.abs(e)
        comparable = np.isfinite(gap)
        if not comparable.all():
            gap, size = _measurable(judged, e, a, gap, size, comparable)
        allowed = judged.tolerance.atol + judged.tolerance.rtol * size
        relative = np.divide(gap, size, where=size > 0, out=np.zeros_like(gap))
        distance = gap / np.maximum(size, 1.0)
    near = gap <= allowed
    if has_ulps(wanted.dtype) and has_ulps(given.dtype):
        ulps = np.where(comparable, ulp_distance(wanted, given), np.uint64(0))
        judged.max_ulp = max(judged.max_ulp, int(ulps.max(initial=0)))
        near |= comparable & (ulps <= np.uint64(judged.tolerance.ulp))
    real = gap[comparable]
    judged.max_abs = max(judged.max_abs, float(real.max(initial=0.0)))
    judged.max_rel = max(judged.max_rel, min(float(relative[comparable].max(initial=0.0)), LARGEST))
    judged.within[part] = near.all(axis=1)
    judged.distance[part] = distance.max(axis=1, initial=0.0)


def _measurable(
    judged: JudgedOutput, e: Array, a: Array, gap: Array, size: Array, comparable: Array
) -> tuple[Array, Array]:
    """``gap`` and ``size`` without NaN and infinity; those equal are 0 apart, those not are ``LARGEST`` apart.

    What is finite on both sides and too far apart for a float stays comparable, at ``LARGEST``.
    """
    nan_e, nan_a = np.isnan(e), np.isnan(a)
    judged.nan_mismatches += int((nan_e ^ nan_a).sum())
    finite = np.isfinite(e) & np.isfinite(a)
    equal = (e == a) | (nan_e & nan_a)
    np.copyto(comparable, finite)
    gap = np.where(equal, 0.0, np.where(np.isfinite(gap) & finite, gap, LARGEST))
    # A tolerance relative to infinity would let everything pass.
    return gap, np.where(finite, size, 1.0)
