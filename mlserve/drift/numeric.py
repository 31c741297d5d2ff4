"""Very many numbers summarised in little: nulls, infinities, range, moments, and counts in cells of the reference.

The cells end at quantiles of the reference, so each holds about as many of its rows; a window is counted in the same
cells, and the two are compared cell by cell, all rows of both. Where the reference has few different values each has a
cell of its own. Next to the counts each cell has the sum of its values: the outermost have no end, and only that tells
how far out their values lie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

CELLS = 128


def edges_of(values: Array, cells: int = CELLS) -> Array:
    """Where the cells of ``values`` end, rising; at most ``cells`` - 1, each one of the values itself, float64.

    Not finite ones are left out. A value is in the first cell whose end it does not exceed.

    >>> edges_of(np.array([1.0, 1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0]
    """
    finite = np.sort(values[np.isfinite(values)].astype(np.float64))
    if not finite.size:
        return np.zeros(0)
    distinct = finite[np.flatnonzero(np.diff(finite, prepend=-np.inf))]
    if len(distinct) <= cells:
        few: Array = distinct[:-1]
        return few
    ends = np.arange(1, cells) * len(finite) // cells
    found: Array = np.unique(finite[ends - 1])
    kept: Array = found[found < finite[-1]]
    return kept


@dataclass(slots=True)
class NumericSummary:
    """Mergeable with those of the same ``edges``. ``counts`` and ``sums`` are (cells,), of finite values only.

    ``nulls`` are NaN and None; ``below`` and ``above`` the finite values outside of [``low``, ``high``]; ``mean`` and
    ``squares`` (the sum of squared deviations from it) are of finite values, ``smallest`` and ``largest`` too.
    """

    edges: Array
    low: float = -math.inf
    high: float = math.inf
    rows: int = 0
    nulls: int = 0
    negative_infinities: int = 0
    positive_infinities: int = 0
    below: int = 0
    above: int = 0
    smallest: float = math.inf
    largest: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    counts: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    sums: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not len(self.counts):
            self.counts, self.sums = np.zeros(len(self.edges) + 1, np.int64), np.zeros(len(self.edges) + 1)

    def add(self, values: Array) -> None:
        """Count ``values``, (rows,) of any number type; objects are numbers with None for a null."""
        self.rows += len(values)
        finite = self._finite(values if values.dtype.kind in "fiub" else values.astype(np.float64))
        if not finite.size:
            return
        least, most = float(finite.min()), float(finite.max())
        self.smallest, self.largest = min(self.smallest, least), max(self.largest, most)
        if least < self.low:
            self.below += int(np.count_nonzero(finite < self.low))
        if most > self.high:
            self.above += int(np.count_nonzero(finite > self.high))
        doubles = finite.astype(np.float64)
        mean = float(doubles.mean())
        self._join_moments(int(self.counts.sum()), len(doubles), mean, float(np.square(doubles - mean).sum()))
        # In the values' own type: the edges are values of the reference, so nothing is rounded.
        edges = self.edges.astype(finite.dtype) if finite.dtype.kind == "f" else self.edges
        cells = np.searchsorted(edges, finite if finite.dtype.kind == "f" else doubles)
        self.counts += np.bincount(cells, minlength=len(self.counts))
        self.sums += np.bincount(cells, weights=doubles, minlength=len(self.sums))

    def merge(self, other: Self) -> None:
        """Count all that ``other`` has, which has the same cells."""
        if not np.array_equal(self.edges, other.edges):
            raise InvalidInput("two summaries have different cells")
        self._join_moments(int(self.counts.sum()), int(other.counts.sum()), other.mean, other.squares)
        for name in ("rows", "nulls", "negative_infinities", "positive_infinities", "below", "above"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.smallest, self.largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        self.counts, self.sums = self.counts + other.counts, self.sums + other.sums

    def empty(self, low: float = -math.inf, high: float = math.inf) -> NumericSummary:
        """One of the same cells that has counted nothing, for other rows; ``low`` and ``high`` are their bounds."""
        return NumericSummary(self.edges, low, high)

    @property
    def finite(self) -> int:
        """How many values are numbers."""
        return int(self.counts.sum())

    @property
    def infinities(self) -> int:
        return self.negative_infinities + self.positive_infinities

    @property
    def sd(self) -> float:
        """The standard deviation of the finite values (of all of them, not of a sample)."""
        return math.sqrt(self.squares / self.finite) if self.finite else 0.0

    @property
    def is_constant(self) -> bool:
        """Whether all finite values are one."""
        return self.finite > 0 and self.smallest == self.largest

    @property
    def centres(self) -> Array:
        """The mean value of each cell, (cells,); of an empty one, its end."""
        ends = np.append(self.edges, self.edges[-1] if len(self.edges) else 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.counts > 0, self.sums / self.counts, ends)

    def quantile(self, share: float) -> float | None:
        """The value that ``share`` of the finite values do not exceed, to within its cell; None of nothing."""
        total = self.finite
        if not total:
            return None
        wanted = share * total
        below = np.concatenate([[0], np.cumsum(self.counts)])
        cell = min(int(np.searchsorted(below[1:], wanted)), len(self.counts) - 1)
        lower = self.smallest if cell == 0 else max(self.smallest, float(self.edges[cell - 1]))
        upper = self.largest if cell == len(self.edges) else min(self.largest, float(self.edges[cell]))
        part = (wanted - below[cell]) / max(1, int(self.counts[cell]))
        return float(lower + (upper - lower) * min(1.0, max(0.0, part)))

    def to_dict(self) -> dict[str, Any]:
        has_any = self.finite > 0
        return {
            "kind": "numeric",
            "rows": self.rows,
            "nulls": self.nulls,
            "negative_infinities": self.negative_infinities,
            "positive_infinities": self.positive_infinities,
            "below": self.below,
            "above": self.above,
            "low": _finite_or_none(self.low),
            "high": _finite_or_none(self.high),
            "smallest": self.smallest if has_any else None,
            "largest": self.largest if has_any else None,
            "mean": _finite_or_none(self.mean),
            "squares": _finite_or_none(self.squares),
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
            "sums": [_finite_or_none(value) for value in self.sums.tolist()],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            counted = ("rows", "nulls", "negative_infinities", "positive_infinities", "below", "above")
            return cls(
                edges=np.array(fields["edges"], np.float64),
                low=-math.inf if fields["low"] is None else fields["low"],
                high=math.inf if fields["high"] is None else fields["high"],
                smallest=math.inf if fields["smallest"] is None else fields["smallest"],
                largest=-math.inf if fields["largest"] is None else fields["largest"],
                mean=math.inf if fields["mean"] is None else fields["mean"],
                squares=math.inf if fields["squares"] is None else fields["squares"],
                counts=np.array(fields["counts"], np.int64),
                sums=np.array(fields["sums"], np.float64),
                **{name: fields[name] for name in counted},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("not the summary of a numeric column") from error

    def _finite(self, values: Array) -> Array:
        if values.dtype.kind != "f":
            return values
        is_finite = np.isfinite(values)
        if is_finite.all():
            return values
        self.nulls += int(np.count_nonzero(np.isnan(values)))
        self.positive_infinities += int(np.count_nonzero(np.isposinf(values)))
        self.negative_infinities += int(np.count_nonzero(np.isneginf(values)))
        finite: Array = values[is_finite]
        return finite

    def _join_moments(self, mine: int, theirs: int, mean: float, squares: float) -> None:
        """Source: Chan, Golub & LeVeque, Updating formulae for computing sample variances (1979)."""
        total = mine + theirs
        if not total:
            return
        apart = mean - self.mean
        self.mean += apart * theirs / total
        self.squares += squares + apart * apart * mine * theirs / total


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
