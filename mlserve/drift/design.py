"""Columns of features as one matrix of numbers, the same way for reference and window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlserve.drift.columns import columns_of
from mlserve.drift.schema import DriftSchema
from mlserve.drift.slicing import MAX_VALUES, as_numbers, as_texts
from mlserve.rows.tables import Array

MAX_COLUMNS = 100
FAR = 6.0
"""Numbers are cut at so many standard deviations, so that one row does not outweigh all."""


class Design:
    """How columns become numbers, as the reference's rows lie.

    A number gives itself and its square, in standard deviations, and whether it is there where it sometimes is not; a
    category gives one column for each of its frequent values.
    """

    def __init__(self, schema: DriftSchema, reference: Mapping[str, Array]) -> None:
        self._numbers: dict[str, tuple[float, float, bool]] = {}
        self._values: dict[str, list[str]] = {}
        for column in columns_of(schema)[:MAX_COLUMNS]:
            values = reference.get(column.name)
            if values is None:
                continue
            if column.is_categorical:
                self._values[column.name] = _frequent(values)
                continue
            numbers = as_numbers(values)
            finite = numbers[np.isfinite(numbers)]
            if len(finite) and finite.std() > 0:
                self._numbers[column.name] = (float(finite.mean()), float(finite.std()), len(finite) < len(numbers))

    def matrix(self, columns: Mapping[str, Array], more: Mapping[str, Array] | None = None) -> Array:
        """(rows, numbers) float64, finite; ``more`` are numbers of the rows beside features, taken as they are."""
        rows = len(next(iter({**columns, **(more or {})}.values())))
        parts: list[Any] = []
        for name, (mean, sd, has_gaps) in self._numbers.items():
            numbers = as_numbers(columns[name]) if name in columns else np.full(rows, np.nan)
            there = np.isfinite(numbers)
            scaled = np.clip(np.where(there, (numbers - mean) / sd, 0.0), -FAR, FAR)
            parts += [scaled, scaled**2, *([there.astype(np.float64)] if has_gaps else [])]
        for name, values in self._values.items():
            texts = as_texts(columns[name]) if name in columns else np.full(rows, None)
            parts += [(texts == value).astype(np.float64) for value in values]
        parts += [np.nan_to_num(np.asarray(values, np.float64)) for values in (more or {}).values()]
        return np.stack(parts, axis=1) if parts else np.zeros((rows, 0))


def _frequent(values: Array) -> list[str]:
    counts: dict[str, int] = {}
    for text in as_texts(values).tolist():
        if text is not None:
            counts[text] = counts.get(text, 0) + 1
    return sorted(counts, key=lambda text: (-counts[text], text))[:MAX_VALUES]
