"""A histogram of whatever values an activation takes, in memory that no outlier can grow."""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

BINS = 2048

_TINY = float(np.finfo(np.float32).tiny)


class ActivationHistogram:
    """Counts of finite values in ``BINS`` equal bins over [-limit, limit], with the exact smallest and largest.

    ``limit`` is a power of two; where a larger value comes, it doubles and each two neighbours become one bin. (ONNX
    Runtime's own calibrators add bins instead, without end where the first batch was near zero.) NaN and infinities are
    left out.
    """

    def __init__(self) -> None:
        self.counts: Array = np.zeros(BINS, np.int64)
        self.limit = 0.0
        self.low = np.inf
        self.high = -np.inf

    @property
    def edges(self) -> Array:
        """The (BINS + 1,) bounds of the bins."""
        return np.linspace(-self.limit, self.limit, BINS + 1)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def widen(self, values: Array) -> None:
        """Take in only the smallest and the largest of ``values``, an array of floats of any shape."""
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = values[np.isfinite(values)]
            low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def add(self, values: Array) -> None:
        """Count ``values``, an array of floats of any shape."""
        self.widen(values)
        flat = values.ravel()
        if not np.isfinite(flat).all():
            flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        self._make_room(float(np.abs(flat).max()))
        places = ((flat.astype(np.float64) + self.limit) * (BINS / (2 * self.limit))).astype(np.int64)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def share_outside(self, low: float, high: float) -> float:
        """How much of what was counted lies below ``low`` or above ``high``, to a bin's precision."""
        inside = (self.edges[1:] > low) & (self.edges[:-1] <= high)
        return float(self.counts[~inside].sum() / self.total) if self.total else 0.0

    def _make_room(self, peak: float) -> None:
        needed = 2.0 ** frexp(peak)[1] if peak else _TINY
        if not self.total:
            self.limit = needed
            return
        while self.limit < needed:
            halved = self.counts.reshape(BINS // 2, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : BINS * 3 // 4] = halved
            self.limit *= 2
