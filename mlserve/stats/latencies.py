"""Latencies of very many requests in bounded memory, with percentiles good to one part in a hundred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_SMALLEST_S = 1e-7
_LARGEST_S = 1e4
_GROWTH = 1.01
_EDGES = int(np.ceil(np.log(_LARGEST_S / _SMALLEST_S) / np.log(_GROWTH)))
_FULL = 1 << 16


class Latencies:
    """Counts of latencies in buckets that grow by one per cent, from 100 ns to hours; ``add`` is one list append."""

    __slots__ = ("_counts", "_fresh", "add")

    def __init__(self) -> None:
        self._counts = np.zeros(_EDGES + 1, dtype=np.int64)
        self._fresh: list[float] = []
        self.add = self._fresh.append

    def __reduce__(self) -> tuple[Any, ...]:
        self._fold()
        return _restored, (self._counts,)

    def add_many(self, seconds: np.ndarray[Any, Any]) -> None:
        """All of ``seconds``, a 1-D array. Neighbours that took as long, as those of a run, cost next to nothing."""
        if not len(seconds):
            return
        heads = np.concatenate([[0], np.flatnonzero(seconds[1:] != seconds[:-1]) + 1])
        lengths = np.diff(heads, append=len(seconds))
        # Sums of whole numbers are exact in float64.
        self._counts += np.bincount(_bucket(seconds[heads]), lengths, _EDGES + 1).astype(np.int64)

    def merge(self, other: Latencies) -> None:
        """Add all that ``other`` has counted."""
        other._fold()
        self._counts += other._counts

    def state(self) -> dict[str, Any]:
        """The buckets that are not empty, and what they count; see ``from_state``."""
        self._fold()
        (seen,) = np.nonzero(self._counts)
        return {"buckets": seen, "counts": self._counts[seen]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Latencies:
        """The inverse of ``state``."""
        found = cls()
        found._counts[np.asarray(state["buckets"], np.int64)] = np.asarray(state["counts"], np.int64)
        return found

    def mean_s(self) -> float:
        """The mean, each latency taken as the middle of its bucket; NaN if there are none."""
        total = self.count
        if not total:
            return float("nan")
        (seen,) = np.nonzero(self._counts)
        return float((self._counts[seen] * _SMALLEST_S * _GROWTH ** (seen - 0.5)).sum() / total)

    def fold(self) -> None:
        """Sort what was added into the buckets, if it is enough to be worth it; call it now and then."""
        if len(self._fresh) >= _FULL:
            self._fold()

    @property
    def count(self) -> int:
        """How many were added."""
        self._fold()
        return int(self._counts.sum())

    def percentiles_s(self, shares: Sequence[float]) -> list[float]:
        """The latencies that the given shares of all requests stayed within, in seconds; NaN if there are none.

        >>> seen = Latencies()
        >>> for ms in range(1, 101):
        ...     seen.add(ms / 1e3)
        >>> [round(1e3 * s) for s in seen.percentiles_s([0.5, 0.99])]
        [50, 99]
        """
        total = self.count
        if not total:
            return [float("nan")] * len(shares)
        ranks = np.maximum(1, np.ceil(np.asarray(shares) * total - 1e-9))
        buckets = np.searchsorted(np.cumsum(self._counts), ranks)
        return [float(_SMALLEST_S * _GROWTH ** (bucket - 0.5)) for bucket in buckets]

    def within(self, limit_s: float) -> int:
        """How many stayed within ``limit_s``."""
        self._fold()
        return int(self._counts[: _bucket(np.array([limit_s]))[0] + 1].sum())

    def curve(self) -> list[tuple[float, float]]:
        """The distribution function: each latency that occurred, in seconds, with the share that stayed within it."""
        total = self.count
        (seen,) = np.nonzero(self._counts)
        shares = np.cumsum(self._counts)[seen] / max(total, 1)
        return [
            (float(_SMALLEST_S * _GROWTH ** (bucket - 0.5)), float(share))
            for bucket, share in zip(seen, shares, strict=True)
        ]

    def _fold(self) -> None:
        if self._fresh:
            self._counts += np.bincount(_bucket(np.array(self._fresh)), minlength=_EDGES + 1)
            self._fresh.clear()


def _restored(counts: np.ndarray[Any, Any]) -> Latencies:
    found = Latencies()
    found._counts += counts
    return found


def _bucket(seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    exponents = np.ceil(np.log(np.maximum(seconds, _SMALLEST_S) / _SMALLEST_S) / np.log(_GROWTH))
    buckets: np.ndarray[Any, Any] = np.minimum(exponents, _EDGES).astype(np.int64)
    return buckets
