"""The rows that static quantization sees activations on: a bounded number, spread over the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from mlserve.rows.reading import RowBatch, Rows

RangeRule = Literal["minmax", "entropy", "percentile"]

MAX_ROWS = 512
"""More rows hardly move a range and cost time; published recipes take 100 to 1000."""


class RowSource(Protocol):
    """What rows are read from, anew in every call of ``batches``; as ``rows.reading.Rows`` has it."""

    @property
    def total_rows(self) -> int | None: ...

    @property
    def has_fixed_rows(self) -> bool: ...

    def batches(self, rows: int = ...) -> Iterator[RowBatch]: ...


@dataclass(frozen=True, slots=True)
class Calibration:
    """What to calibrate on: at most ``max_rows`` of ``rows``, and the rule by which seen values become a range."""

    rows: Rows
    rule: RangeRule = "minmax"
    max_rows: int = MAX_ROWS

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """The rows to calibrate on, in order, at most ``rows`` at a time; the same ones in every call."""
        return spread(self.rows, self.max_rows, rows)


def spread(source: RowSource, limit: int, rows: int) -> Iterator[RowBatch]:
    """``limit`` rows of ``source``, evenly over all, for files are often sorted by class or time; ``rows`` at a time.

    A model whose calls have a fixed number of rows gets whole calls.
    """
    total = source.total_rows
    if total is None:
        total = sum(batch.rows for batch in source.batches())
    if total <= limit:
        yield from source.batches(rows)
        return
    wanted = np.arange(limit) * total // limit
    for batch in source.batches(rows):
        here = wanted[(wanted >= batch.start) & (wanted < batch.start + batch.rows)] - batch.start
        if len(here):
            yield batch.take(here) if batch.has_rows and not source.has_fixed_rows else batch
