"""The rows that static quantization sees activations on: a bounded number, spread over the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlserve.rows.reading import RowBatch, Rows

RangeRule = Literal["minmax", "entropy", "percentile"]

MAX_ROWS = 512
"""More rows hardly move a range and cost time; published recipes take 100 to 1000."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What to calibrate on: at most ``max_rows`` of ``rows``, and the rule by which seen values become a range."""

    rows: Rows
    rule: RangeRule = "minmax"
    max_rows: int = MAX_ROWS

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """The rows to calibrate on, in order, at most ``rows`` at a time; the same ones in every call.

        They are spread evenly, for files are often sorted by class or time. A model whose calls have a fixed number of
        rows gets whole calls.
        """
        total = self.rows.total_rows
        if total is None:
            total = sum(batch.rows for batch in self.rows.batches())
        if total <= self.max_rows:
            yield from self.rows.batches(rows)
            return
        wanted = np.arange(self.max_rows) * total // self.max_rows
        for batch in self.rows.batches(rows):
            here = wanted[(wanted >= batch.start) & (wanted < batch.start + batch.rows)] - batch.start
            if len(here):
                yield batch.take(here) if batch.has_rows and not self.rows.has_fixed_rows else batch
