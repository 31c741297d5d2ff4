"""A bounded sample of whole groups of rows, wherever their rows stand: the groups with the smallest keys.

A group whose key is below the threshold has all its rows here, so that what is measured of a group is right; what is
above has none. The threshold falls as rows come.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

MAX_ROWS = 1 << 18
MAX_GROUP_ROWS = 4096

_LAST = (1 << 64) - 1


class GroupSample:
    """Rows of ``columns`` float64 values by their group's uint64 key, which is evenly spread (``hashing``).

    Exact until there are more than ``max_rows`` rows; then whole groups are let go, those with the largest keys first,
    so that the same rows give the same sample in whatever order and however many parts. A group of more than
    ``max_group_rows`` rows is too large: its rows are let go, and it counts as that many. Holds at most
    2 × ``max_rows`` rows and what one ``add`` brought.
    """

    def __init__(self, columns: int, max_rows: int = MAX_ROWS, max_group_rows: int = MAX_GROUP_ROWS) -> None:
        self.columns, self.max_rows, self.max_group_rows = columns, max_rows, max_group_rows
        self.seen = 0
        """How many rows were added, sampled or not."""
        self._threshold = _LAST  # the smallest key that was let go
        self._too_large: Array = np.empty(0, np.uint64)
        self._parts: list[tuple[Array, Array]] = [(np.empty(0, np.uint64), np.empty((0, columns)))]
        self._buffered = 0
        self._is_compact = True

    def add(self, keys: Array, values: Array) -> None:
        """Add rows: ``keys`` (rows,) uint64 of their groups, ``values`` (rows, columns)."""
        self.seen += len(keys)
        self._keep(keys, np.array(values, np.float64).reshape(len(keys), self.columns))

    def merge(self, other: Self) -> None:
        """Add all rows of ``other``, of the same bounds."""
        self.seen += other.seen
        self._threshold = min(self._threshold, other._threshold)
        self._too_large = np.union1d(self._too_large, other._too_large)
        for part in other._parts:
            self._keep(*part)
        self._is_compact = False

    def rows(self) -> tuple[Array, Array]:
        """(rows,) numbers of groups, ascending from 0, and their rows' values, in an order that is always the same."""
        keys, values = self._compact()
        order = np.lexsort((*values.T, keys))
        keys, values = keys[order], values[order]
        return np.cumsum(np.concatenate([[0], np.diff(keys) != 0]))[: len(keys)], values

    @property
    def too_large(self) -> int:
        """How many groups below the threshold have too many rows."""
        self._compact()
        return len(self._too_large)

    @property
    def left_out(self) -> int:
        """How many rows were added that are not in the sample."""
        keys, _ = self._compact()
        return self.seen - len(keys)

    def state(self) -> dict[str, Any]:
        keys, values = self._compact()
        return {
            "max_rows": self.max_rows,
            "max_group_rows": self.max_group_rows,
            "seen": self.seen,
            "threshold": self._threshold,
            "too_large": self._too_large,
            "keys": keys,
            "values": values,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        values = np.asarray(state["values"], np.float64)
        sample = cls(values.shape[1], state["max_rows"], state["max_group_rows"])
        sample.seen, sample._threshold = state["seen"], state["threshold"]
        sample._too_large = np.asarray(state["too_large"], np.uint64)
        sample._keep(np.asarray(state["keys"], np.uint64), values)
        return sample

    def _keep(self, keys: Array, values: Array) -> None:
        near = self._is_near(keys)
        if not near.all():
            keys, values = keys[near], values[near]
        if len(keys):
            self._parts.append((keys, values))
            self._buffered += len(keys)
            self._is_compact = False
        if self._buffered > 2 * self.max_rows:
            self._compact()

    def _is_near(self, keys: Array) -> Array:
        """Which rows are of a group that is kept."""
        if self._threshold == _LAST and not len(self._too_large):
            return np.ones(len(keys), bool)
        return np.asarray((keys < np.uint64(self._threshold)) & ~np.isin(keys, self._too_large))

    def _compact(self) -> tuple[Array, Array]:
        """What is kept, in one part of at most ``max_rows`` rows."""
        if not self._is_compact:
            keys, values = (np.concatenate(column) for column in zip(*self._parts, strict=True))
            self._draw_bounds(keys)
            near = self._is_near(keys)
            self._parts, self._buffered = [(keys[near], values[near])], int(near.sum())
            self._is_compact = True
        return self._parts[0]

    def _draw_bounds(self, keys: Array) -> None:
        """Note which groups ``keys``, those of all rows, make too large, and from where on there are too many rows.

        Groups only grow, and so does what lies below each of them: whatever is let go early would be in the end.
        """
        groups, sizes = np.unique(keys, return_counts=True)
        self._too_large = np.union1d(self._too_large, groups[sizes > self.max_group_rows])
        fits = ~np.isin(groups, self._too_large)
        groups = np.concatenate([groups[fits], self._too_large])
        sizes = np.concatenate([sizes[fits], np.full(len(self._too_large), self.max_group_rows)])
        order = np.argsort(groups)
        beyond = np.flatnonzero(np.cumsum(sizes[order]) > self.max_rows)
        if len(beyond):
            self._threshold = min(self._threshold, int(groups[order[beyond[0]]]))
        self._too_large = self._too_large[self._too_large < np.uint64(self._threshold)]
