"""The parts of the data that are looked at by themselves: quarters of each number, frequent values of each category.

They come from the reference alone: parts that were chosen by the window's losses would always hold something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlserve.drift.categorical import as_category
from mlserve.drift.columns import columns_of, split
from mlserve.drift.sample import DrawnRows
from mlserve.drift.scanning import COLUMN, INPUT
from mlserve.drift.schema import DriftSchema
from mlserve.rows.tables import Array

MAX_COLUMNS = 50
CUTS = (0.25, 0.5, 0.75)
MAX_VALUES = 6
LEAST_SHARE = 0.02
"""A value that fewer rows of the reference have is no part of its own."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows whose ``column`` is ``value``, or a number above ``above`` (None: however small) and at most ``most``."""

    column: str
    above: float | None = None
    most: float | None = None
    value: str | None = None

    @property
    def where(self) -> str:
        """In words.

        >>> Slice("age", 20.0, 30.5).where, Slice("plan", value="team").where
        ('20 < age <= 30.5', 'plan = team')
        """
        if self.value is not None:
            return f"{self.column} = {self.value}"
        if self.above is None:
            return f"{self.column} <= {self.most:.6g}"
        return (
            f"{self.column} > {self.above:.6g}"
            if self.most is None
            else f"{self.above:.6g} < {self.column} <= {self.most:.6g}"
        )

    def holds(self, columns: Mapping[str, Array]) -> Array:
        """Which rows of ``columns``, (rows,) each, are in it: (rows,) bool, none without the column."""
        values = columns.get(self.column)
        if values is None:
            return np.zeros(len(next(iter(columns.values()), ())), bool)
        if self.value is not None:
            found: Array = as_texts(values) == self.value
            return found
        numbers = as_numbers(values)
        inside: Array = ~np.isnan(numbers)
        if self.above is not None:
            inside &= numbers > self.above
        return inside if self.most is None else inside & (numbers <= self.most)


def slices_of(schema: DriftSchema, reference: Mapping[str, Array]) -> list[Slice]:
    """The slices of the first ``MAX_COLUMNS`` columns, by their rows in the ``reference``, (rows,) each."""
    found: list[Slice] = []
    for column in columns_of(schema)[:MAX_COLUMNS]:
        values = reference.get(column.name)
        if values is None or not len(values):
            continue
        found += (
            _by_value(column.name, values) if column.is_categorical else _by_quarter(column.name, as_numbers(values))
        )
    return found


def features_in(schema: DriftSchema, drawn: DrawnRows) -> dict[str, Array]:
    """The columns of every feature in a sample, (rows,) each."""
    inputs = {name.removeprefix(INPUT): values for name, values in drawn.columns.items() if name.startswith(INPUT)}
    others = {name.removeprefix(COLUMN): values for name, values in drawn.columns.items() if name.startswith(COLUMN)}
    known = {column.name for column in columns_of(schema)}
    return {name: values for name, values in {**split(schema, inputs), **others}.items() if name in known}


def as_numbers(values: Array) -> Array:
    """(rows,) float64, NaN for what is no number."""
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    if values.dtype.kind in "mM":
        return np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.float64))
    return np.array([_number(value) for value in values.tolist()], np.float64)


def as_texts(values: Array) -> Array:
    """(rows,) objects of text as categories are counted, None for a null."""
    texts = np.empty(len(values), object)
    texts[:] = [None if value is None or value != value else as_category(value) for value in values.tolist()]
    return texts


def _by_value(name: str, values: Array) -> list[Slice]:
    texts = [text for text in as_texts(values).tolist() if text is not None]
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    ranked = sorted(counts, key=lambda text: (-counts[text], text))[:MAX_VALUES]
    kept = [text for text in ranked if counts[text] >= LEAST_SHARE * len(values)]
    return [Slice(name, value=text) for text in kept] if len(counts) > 1 else []


def _by_quarter(name: str, numbers: Array) -> list[Slice]:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return []
    cuts = np.unique(np.quantile(finite, CUTS, method="lower"))
    ends = [float(cut) for cut in cuts if cut < finite.max()]
    if not ends:
        return []
    return [Slice(name, above, most) for above, most in zip([None, *ends], [*ends, None], strict=True)]


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
