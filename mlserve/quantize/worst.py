"""The rows whose answers moved the furthest, with what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.quantize.calibration import RowSource

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN = 8
LONGEST = 16
"""Values of an input that are shown; a row may hold an image."""


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row by its place among those judged on, from 1; ``inputs`` are shortened to be read."""

    number: int
    error: float
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RowErrors:
    """How far each row moved, ascending, and the worst rows, the furthest first."""

    values: Array
    worst: tuple[WorstRow, ...]


def row_errors_of(errors: Array | None, rows: RowSource | None) -> RowErrors | None:
    """``errors`` by row with the inputs of the worst, which are read once more; None where nothing was measured."""
    if errors is None or rows is None:
        return None
    wanted = np.argsort(-errors, kind="stable")[:SHOWN]
    found: dict[int, WorstRow] = {}
    start = 0
    for batch in rows.batches():
        for row in wanted[(wanted >= start) & (wanted < start + batch.rows)].tolist():
            inputs = {
                name: _shown(array[row - start] if batch.has_rows and array.ndim else array)
                for name, array in batch.inputs.items()
            }
            found[row] = WorstRow(row + 1, float(errors[row]), inputs)
        start += batch.rows
    return RowErrors(np.sort(errors), tuple(found[row] for row in wanted.tolist() if row in found))


def _shown(value: Any) -> str:
    flat = np.asarray(value).ravel().tolist()
    texts = [f"{item:.4g}" if isinstance(item, float) else str(item) for item in flat[:LONGEST]]
    more = f" … ({len(flat)} in all)" if len(flat) > LONGEST else ""
    return ", ".join(texts) + more
