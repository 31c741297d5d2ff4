"""Rows that two versions have answered, and what may learn from them: the seam of the comparison ladder.

replay, live shadow ──Pairs──► Rung.add (exactness, decisions, ranking, distributions, quality)
                                  │
                     merge ◄──────┴──► state (kept over a pause, sent between processes) ──► figures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from mlserve.stats.hashing import row_keys, text_keys

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = Mapping[str, Array]

State = dict[str, Any]
"""What a rung has learned: text keys; numbers, texts, lists, numpy arrays and further such mappings as values."""


@dataclass(frozen=True)
class Pairs:
    """Rows answered twice, of whole requests: row i of every array is one row.

    ``request_ids`` are (requests,), ``rows_each`` (requests,) integers: how many rows each request has; their sum is
    the number of rows. ``expected`` is what the baseline answered and ``actual`` the other version, by output, rows on
    axis 0; ``inputs`` what both were asked. ``labels`` (rows,) are the truth, a masked array where some are unknown.
    ``groups`` (rows,) says which rows are ranked together; None where each request is a group by itself.
    ``first_rows`` (requests,) is where a request that came in pieces goes on; ``weights`` (requests,) how many requests
    each stands for, None for one.
    """

    request_ids: Sequence[str]
    rows_each: Array
    expected: Outputs
    actual: Outputs
    inputs: Outputs
    labels: np.ma.MaskedArray[Any, Any] | Array | None = None
    groups: Array | None = None
    first_rows: Array | None = None
    weights: Array | None = None

    @cached_property
    def rows(self) -> int:
        return int(self.rows_each.sum())

    @cached_property
    def request_keys(self) -> Array:
        """(requests,) uint64 of each request's id."""
        return text_keys(self.request_ids)

    @cached_property
    def row_keys(self) -> Array:
        """(rows,) uint64 of each row's request id and place: what is sampled by them is the same sample everywhere."""
        return row_keys(self.request_keys, self.rows_each, self.first_rows)


class Rung(Protocol):
    """One rung of the ladder. Bounded in memory; what two have learned of different rows is one by ``merge``."""

    def add(self, pairs: Pairs) -> None:
        """Learn from ``pairs``."""

    def merge(self, other: Self) -> None:
        """Learn all that ``other`` has; as if its rows had been added here."""

    def figures(self) -> dict[str, Any]:
        """What is known now, as JSON values."""

    def state(self) -> State:
        """All that was learned, to be kept or sent; see ``from_state``."""

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The inverse of ``state``."""
