"""How many different rows there are among very many, in bounded memory: the smallest hashes tell.

While there are fewer than ``kept`` different hashes the count is exact; beyond, the k-th smallest of uniform hashes
says how dense they lie, good to 1 / sqrt(k). Source: Bar-Yossef et al., Counting distinct elements (2002).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from mlserve.rows.tables import Array

KEPT = 4096


@dataclass(slots=True)
class Distinct:
    """Mergeable. ``smallest`` are the smallest different hashes so far, rising."""

    kept: int = KEPT
    rows: int = 0
    smallest: Array = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, hashes: Array) -> None:
        """Count rows by their hashes, (rows,) uint64."""
        self.rows += len(hashes)
        if len(self.smallest) == self.kept:
            hashes = hashes[hashes < self.smallest[-1]]
        if len(hashes):
            self.smallest = np.union1d(self.smallest, hashes)[: self.kept]

    def merge(self, other: Self) -> None:
        """Count all that ``other`` has."""
        self.rows += other.rows
        self.smallest = np.union1d(self.smallest, other.smallest)[: self.kept]

    @property
    def estimate(self) -> float:
        """How many different rows there are."""
        if len(self.smallest) < self.kept:
            return float(len(self.smallest))
        return min(float(self.rows), (self.kept - 1) / (float(self.smallest[-1]) / 2.0**64))

    @property
    def duplicate_share(self) -> float:
        """The share of rows that repeat another; 0 of none.

        >>> counted = Distinct()
        >>> counted.add(np.array([1, 2, 2, 3], np.uint64))
        >>> counted.duplicate_share
        0.25
        """
        return max(0.0, 1.0 - self.estimate / self.rows) if self.rows else 0.0
