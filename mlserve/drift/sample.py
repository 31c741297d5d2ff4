"""Some thousand rows out of any number, the same in every run: a simple random sample, with more of what is rare.

Each row has a number as good as random (``hashing.priorities``). Those with the ``size`` smallest are a simple random
sample; beside them each stratum (the class that was predicted) keeps its ``floor`` smallest. So a row is in if its
number is below the larger of two bounds, and stands for 1 / that bound rows. Source: Duffield, Lund & Thorup, Priority
sampling (2007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from mlserve.drift.hashing import priorities
from mlserve.rows.tables import Array

SIZE = 10_000
FLOOR = 200
MAX_STRATA = 50
"""Of more classes, those that come later have no floor of their own."""
MAX_BYTES = 64 << 20
_WHOLE = 2.0**64
NO_STRATUM = ""


@dataclass(slots=True)
class RowSample:
    """Mergeable, as long as no row is added twice. Rows are added under their number in the order of the data."""

    size: int = SIZE
    floor: int = FLOOR
    seed: int = 0
    max_bytes: int = MAX_BYTES
    rows: int = 0
    strata: dict[str, int] = field(default_factory=dict)
    _held: list[dict[str, Array]] = field(default_factory=list)
    _held_rows: int = 0
    _bound: int = 1 << 64
    _bounds: dict[str, int] = field(default_factory=dict)

    def add(self, start: int, columns: Mapping[str, Array], strata: Array | None = None) -> None:
        """Draw from rows ``start`` onwards. ``columns`` are (rows, …) each, ``strata`` (rows,) text or None for one."""
        count = len(next(iter(columns.values())))
        drawn = priorities(start, count, self.seed)
        named = np.full(count, NO_STRATUM, object) if strata is None else strata
        self.rows += count
        taken = _below(drawn, self._bound)
        for name, of_it in _tallied(named).items():
            if name not in self.strata and len(self.strata) >= MAX_STRATA:
                continue
            self.strata[name] = self.strata.get(name, 0) + of_it
            taken |= _below(drawn, self._bounds.get(name, 1 << 64)) & (named == name)
        at = np.flatnonzero(taken)
        if len(at):
            kept = {name: values[at] for name, values in columns.items()}
            index = np.arange(start, start + count)[at]
            self._held.append(kept | {_PRIORITY: drawn[at], _INDEX: index, _STRATUM: named[at]})
            self._held_rows += len(at)
        if self._held_rows > 2 * self._most:
            self._prune()

    def merge(self, other: Self) -> None:
        """Draw from all that ``other`` drew from."""
        self.rows += other.rows
        for name, count in other.strata.items():
            self.strata[name] = self.strata.get(name, 0) + count
        self._held += other._held
        self._held_rows += other._held_rows
        # The first row that was dropped lies at the bound: it might be the one at which both together are full.
        self._bound = min(self._bound, other._bound)
        for name, bound in other._bounds.items():
            self._bounds[name] = min(self._bounds.get(name, 1 << 64), bound)
        self._prune()

    def drawn(self) -> DrawnRows:
        """What is in the sample now, in the order of the data."""
        self._prune()
        if not self._held:
            return DrawnRows({}, np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))
        (held,) = self._held
        numbers = held[_PRIORITY]
        bounds = np.array([self._bounds.get(name, 0) for name in held[_STRATUM].tolist()], np.float64)
        weights = _WHOLE / np.maximum(bounds, float(self._bound))
        columns = {name: values for name, values in held.items() if name not in _OWN}
        return DrawnRows(columns, held[_INDEX], weights, _below(numbers, self._bound))

    @property
    def _most(self) -> int:
        return self.size + self.floor * max(1, len(self.strata))

    def _prune(self) -> None:
        """Keep what is below the bounds, which only ever fall."""
        if not self._held:
            return
        whole = _joined(self._held)
        numbers, named = whole[_PRIORITY], whole[_STRATUM]
        row_bytes = sum(values.nbytes for values in whole.values()) / len(numbers)
        size = max(1, min(self.size, int(self.max_bytes / max(row_bytes, 1.0))))
        self._bound = min(self._bound, _bound_of(numbers, size))
        taken = _below(numbers, self._bound)
        for name in self.strata:
            of_it = named == name
            bound = min(self._bounds.get(name, 1 << 64), _bound_of(numbers[of_it], min(self.floor, size)))
            self._bounds[name] = bound
            taken |= of_it & _below(numbers, bound)
        at = np.flatnonzero(taken)
        at = at[np.argsort(whole[_INDEX][at], kind="stable")]
        self._held = [{name: values[at] for name, values in whole.items()}]
        self._held_rows = len(at)


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """Rows in the order of the data: ``columns`` by name, ``index`` their numbers, ``weights`` what each stands for.

    ``is_uniform`` marks those that are a simple random sample by themselves, which tests without weights take.
    """

    columns: dict[str, Array]
    index: Array
    weights: Array
    is_uniform: Array

    @property
    def rows(self) -> int:
        return len(self.index)

    def uniform(self) -> dict[str, Array]:
        """The columns of the simple random sample."""
        return {name: values[self.is_uniform] for name, values in self.columns.items()}


_PRIORITY, _INDEX, _STRATUM = "\0priority", "\0index", "\0stratum"
_OWN = (_PRIORITY, _INDEX, _STRATUM)


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """The columns that every part has, with rows of one shape: sequences of many lengths make no one array."""
    return {
        name: np.concatenate([part[name] for part in parts])
        for name, first in parts[0].items()
        if all(name in part and part[name].shape[1:] == first.shape[1:] for part in parts)
    }


def _below(numbers: Array, bound: int) -> Array:
    if bound >= 1 << 64:
        return np.ones(len(numbers), bool)
    found: Array = numbers < np.uint64(bound)
    return found


def _bound_of(numbers: Array, size: int) -> int:
    """The bound below which ``size`` of ``numbers`` lie; without end where there are no more of them."""
    if len(numbers) <= size:
        return 1 << 64
    return int(np.partition(numbers, size)[size])


def _tallied(named: Array) -> dict[str, int]:
    values, counts = np.unique(named.astype(str), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
