"""The rows that are farthest apart, with what was asked and what both answered: something to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from mlserve.compare.kinds import as_comparable
from mlserve.compare.ladder.judging import Judged, Limits, judge
from mlserve.compare.pairs import Pairs, State

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN_VALUES = 64
SHOWN_CHARACTERS = 200


class WorstRows:
    """The ``count`` rows that differ most: those decided otherwise first, then by distance.

    One number a position may be a probability or a value, which only the whole can tell (``compare/labels.py``); such
    outputs count by distance alone. Ties are broken by a hash, so that any merging keeps the same rows.
    """

    def __init__(self, limits: Limits | None = None, *, count: int = 50) -> None:
        self._limits = limits or Limits()
        self._count = count
        self._rows: list[tuple[bool, float, int, dict[str, Any]]] = []

    def add(self, pairs: Pairs) -> None:
        self.learn(judge(pairs, self._limits))

    def learn(self, judged: Judged) -> None:
        """``add`` of what is judged already."""
        different = np.flatnonzero((judged.distance > 0) | judged.changed)
        if not different.size or not self._count:
            return
        is_single = judged.decision is not None and judged.decision.is_single
        changed = np.zeros(judged.rows, bool) if is_single else judged.changed
        different = self._candidates(different, changed, judged.distance)
        if not different.size:
            return
        hashes = judged.pairs.row_keys[different]
        order = np.lexsort((hashes, -judged.distance[different], ~changed[different]))[: self._count]
        for at in order.tolist():
            row = int(different[at])
            shown = _shown(judged.pairs, row, judged.rows)
            self._rows.append((bool(changed[row]), float(judged.distance[row]), int(hashes[at]), shown))
        self._bound()

    def merge(self, other: Self) -> None:
        self._rows.extend(other._rows)
        self._bound()

    def figures(self) -> list[dict[str, Any]]:
        """Worst first: ``request_id``, ``row`` (in its request), ``distance`` and the values, by name.

        ``distance`` is the largest ``|actual - expected| ÷ max(1, |expected|)``, 1 for another label, and the largest
        finite float where nothing can be measured (NaN on one side, no such output). Of a tensor with more than
        ``SHOWN_VALUES`` values a row the first are shown, with its shape.
        """
        return [
            {**shown, "distance": distance, "decided_otherwise": changed} for changed, distance, _, shown in self._rows
        ]

    def state(self) -> State:
        return {"count": self._count, "rows": [list(row) for row in self._rows]}

    @classmethod
    def from_state(cls, state: State, limits: Limits | None = None) -> Self:
        self = cls(limits, count=state["count"])
        self._rows = [(changed, distance, number, shown) for changed, distance, number, shown in state["rows"]]
        return self

    def _candidates(self, rows: Array, changed: Array, distance: Array) -> Array:
        """Those of ``rows`` that may be among the worst, by what is there already."""
        if len(self._rows) < self._count:
            return rows
        is_changed, far, _, _ = self._rows[-1]
        if is_changed:
            return np.asarray(rows[changed[rows] & (distance[rows] >= far)])
        return np.asarray(rows[changed[rows] | (distance[rows] >= far)])

    def _bound(self) -> None:
        self._rows.sort(key=lambda row: (not row[0], -row[1], row[2]))
        del self._rows[self._count :]


def _shown(pairs: Pairs, row: int, rows: int) -> dict[str, Any]:
    ends = np.cumsum(pairs.rows_each)
    request = int(np.searchsorted(ends, row, side="right"))
    first = 0 if pairs.first_rows is None else int(pairs.first_rows[request])
    return {
        "request_id": pairs.request_ids[request],
        "row": first + row - int(ends[request] - pairs.rows_each[request]),
        "inputs": _values(pairs.inputs, row, rows),
        "expected": _values(pairs.expected, row, rows),
        "actual": _values({name: pairs.actual[name] for name in pairs.expected if name in pairs.actual}, row, rows),
    }


def _values(side: Mapping[str, Array], row: int, rows: int) -> dict[str, Any]:
    return {name: _row_of(np.asarray(values), row, rows) for name, values in side.items()}


def _row_of(values: Array, row: int, rows: int) -> Any:
    own = values[row : row + 1].reshape(values.shape[1:]) if values.ndim and len(values) == rows else values
    first = [_json(value) for value in as_comparable(own.reshape(-1)[:SHOWN_VALUES]).tolist()]
    if own.size > SHOWN_VALUES:
        return {"shape": list(own.shape), "first": first}
    return first[0] if not own.ndim else _nested(first, own.shape)


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if len(shape) < 2:
        return flat
    step = math.prod(shape[1:])
    return [_nested(flat[at * step : (at + 1) * step], shape[1:]) for at in range(shape[0])]


def _json(value: Any) -> Any:
    """JSON has no NaN and no infinity; they are told as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bool, int)) or value is None:
        return value
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
