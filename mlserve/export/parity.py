"""Parity: the graph as written against the original, on the sample, in other shapes and on edge rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mlserve.compare.labels import Agreement, agreement
from mlserve.compare.tolerance import Difference, compare
from mlserve.errors import InvalidInput, Unsupported
from mlserve.export.exporter import Arrays

Run = Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]

SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs to compare on. One that is not ``is_required`` is reported when it differs, and decides nothing."""

    name: str
    inputs: Arrays
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one case; ``detail`` says why where figures cannot."""

    name: str
    rows: int
    rows_over: int
    max_abs: float
    max_rel: float
    passed: bool
    is_required: bool = True
    detail: str | None = None
    worst_row: int | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """All checks, and the figures that a gate may ask for.

    ``rows``, ``rows_over``, ``worst_row`` and ``agreement`` are those of the sample, or of the rows that were made up
    in its place; ``max_abs`` and ``max_rel`` are the largest over all checks that count. ``agreement`` is the share of
    positions that both decide alike (labels, else the largest score), None where numbers decide nothing.
    """

    passed: bool
    max_abs: float
    max_rel: float
    rows: int
    rows_over: int
    worst_row: int | None
    rtol: float
    atol: float
    agreement: float | None = None
    checks: tuple[Check, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"checks": [asdict(check) for check in self.checks]}


def measure_parity(
    original: Run,
    graph: Run,
    batches: Iterable[Arrays],
    cases: Iterable[Case],
    *,
    rtol: float,
    atol: float,
    allow_mismatch: int,
) -> Parity:
    """Run both on ``batches`` (consecutive rows of the sample) and on each of ``cases``.

    The original's word decides whether a case is sensible: one of ``cases`` that it refuses is left out. What the graph
    alone refuses fails. Up to ``allow_mismatch`` rows of the sample, and of each case, may be over tolerance.
    """
    total, detail = Difference(), None
    alike: Agreement | None = Agreement()
    for inputs in batches:
        expected, actual, problem = _both(original(inputs), graph, inputs)
        total = total.merge(compare(expected, actual, rtol=rtol, atol=atol, start=total.rows))
        alike, detail = _merged(alike, expected, actual), detail or problem
    checks = [_check(Case(SAMPLE, {}), total, detail, allow_mismatch)]
    for case in cases:
        try:
            expected = original(case.inputs)
        except InvalidInput:
            continue
        expected, actual, problem = _both(expected, graph, case.inputs)
        checks.append(_check(case, compare(expected, actual, rtol=rtol, atol=atol), problem, allow_mismatch))
    counting = [check for check in checks if check.is_required]
    return Parity(
        passed=all(check.passed for check in counting) and total.rows > 0,
        max_abs=max(check.max_abs for check in counting),
        max_rel=max(check.max_rel for check in counting),
        rows=total.rows,
        rows_over=total.rows_over,
        worst_row=total.worst_row,
        rtol=rtol,
        atol=atol,
        agreement=alike.share if alike is not None and alike.total else None,
        checks=tuple(checks),
    )


def _both(expected: Arrays, graph: Run, inputs: Arrays) -> tuple[Arrays, Arrays, str | None]:
    """The original's answer in the graph's shapes, the graph's, and why it gave none if so: then every row is over."""
    try:
        actual, problem = graph(inputs), None
    except InvalidInput as error:
        actual, problem = {}, error.message
    return {name: _in_shape(array, actual.get(name)) for name, array in expected.items()}, actual, problem


def _merged(so_far: Agreement | None, expected: Arrays, actual: Arrays) -> Agreement | None:
    """None from the first rows on that decide nothing."""
    try:
        return so_far.merge(agreement(expected, actual)) if so_far is not None else None
    except Unsupported:
        return None


def _in_shape(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """``expected`` in the graph's shape where they differ only in axes of length 1: (N,) and (N, 1) are one column."""
    if actual is None or expected.shape == actual.shape:
        return expected
    squeezed = [[length for length in array.shape[1:] if length != 1] for array in (expected, actual)]
    same = expected.shape[:1] == actual.shape[:1] and squeezed[0] == squeezed[1]
    return expected.reshape(actual.shape) if same else expected


def _check(case: Case, found: Difference, problem: str | None, allow_mismatch: int) -> Check:
    return Check(
        name=case.name,
        rows=found.rows,
        rows_over=found.rows_over,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        passed=problem is None and found.rows_over <= allow_mismatch,
        is_required=case.is_required,
        detail=problem,
        worst_row=found.worst_row,
    )


def reasons(parity: Parity) -> list[str]:
    """Why ``parity`` did not pass, a sentence a check that counts."""
    sentences = []
    for check in parity.checks:
        if check.passed or not check.is_required:
            continue
        if check.detail:
            sentences.append(f"{check.name}: the original answers, the graph does not: {check.detail}")
        else:
            sentences.append(
                f"{check.name}: {check.rows_over} of {check.rows} rows differ by more than "
                f"{parity.atol:g} + {parity.rtol:g} × value "
                f"(largest {check.max_abs:.3g}; worst is row {check.worst_row})"
            )
    if not parity.rows:
        sentences.append("there were no rows to compare")
    return sentences


def remarks(parity: Parity) -> list[str]:
    """What a person should know although it decides nothing."""
    return [
        f"{check.name}: the two differ in {check.rows_over} of {check.rows} rows; the sample has no such rows"
        for check in parity.checks
        if not check.passed and not check.is_required
    ]


def chunks(inputs: Arrays, rows: int) -> Iterator[Arrays]:
    """``inputs`` in pieces of at most ``rows`` rows."""
    total = max((len(array) for array in inputs.values() if array.ndim), default=1)
    for start in range(0, total, rows):
        yield {name: array[start : start + rows] if array.ndim else array for name, array in inputs.items()}


def take(inputs: Arrays, index: Sequence[int]) -> Arrays:
    """The rows of ``inputs`` that ``index`` names."""
    return {name: array[np.asarray(index)] for name, array in inputs.items()}
