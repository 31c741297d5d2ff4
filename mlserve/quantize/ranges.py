"""From the values that a tensor was seen to take to the range that its 256 levels are spread over."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.quantize.calibration import RangeRule
from mlserve.quantize.histogram import BINS, ActivationHistogram

Array = np.ndarray[Any, np.dtype[Any]]

PERCENTILE = 99.99
"""Of the values in per cent; what lies beyond is cut, half of it on each side."""

LEVELS = 128
"""Bins of the coarse distribution that ``entropy`` compares with, as in its source."""


def range_of(seen: ActivationHistogram, rule: RangeRule) -> tuple[float, float]:
    """The range by ``rule``, within what was seen; (0, 0) where nothing was.

    ``minmax`` covers everything and needs no counts, ``percentile`` covers all but the outermost ``100 - PERCENTILE``
    per cent, ``entropy`` what loses the least information (Kullback-Leibler).
    """
    if seen.low > seen.high:
        return 0.0, 0.0
    if rule == "minmax":
        return seen.low, seen.high
    low, high = _percentile(seen) if rule == "percentile" else _entropy(seen)
    return max(low, seen.low), min(high, seen.high)


def _percentile(seen: ActivationHistogram) -> tuple[float, float]:
    cut = (1 - PERCENTILE / 100) / 2 * seen.total
    below = np.concatenate([[0], np.cumsum(seen.counts)])
    first = int(np.searchsorted(below, cut, side="right")) - 1
    last = int(np.searchsorted(below, seen.total - cut, side="left"))
    return float(seen.edges[first]), float(seen.edges[last])


def _entropy(seen: ActivationHistogram) -> tuple[float, float]:
    """The ±limit at which the values, cut there, differ least from themselves in ``LEVELS`` steps.

    Source: S. Migacz, 8-bit inference with TensorRT (GTC 2017). Exact zeros, which cost nothing at any limit, count no
    more than their neighbours: behind a ReLU they are half of all values and would decide alone.
    """
    middle = BINS // 2
    counts = seen.counts.copy()
    counts[middle] = min(counts[middle], counts[middle + 1])
    reach = range(LEVELS // 2, middle + 1)
    windows = [(middle - half, min(middle + half + 1, BINS)) for half in reach]
    first, end = windows[int(np.argmin([_information_lost(counts, *window) for window in windows]))]
    return float(seen.edges[first]), float(seen.edges[end])


def _information_lost(counts: Array, first: int, end: int) -> float:
    """Kullback-Leibler divergence of the counts within a window, what lies outside at its ends, from their steps."""
    kept = counts[first:end]
    wanted = kept.copy()
    wanted[0] += counts[:first].sum()
    wanted[-1] += counts[end:].sum()
    steps = np.arange(LEVELS) * (len(kept) // LEVELS)
    widths = np.diff(np.append(steps, len(kept)))
    filled = np.add.reduceat(wanted != 0, steps, dtype=np.int64)
    mean = np.add.reduceat(kept, steps) // np.maximum(filled, 1)
    p, q = (_without_zeros(part) for part in (wanted, np.repeat(mean, widths)))
    return float((p * np.log(p / q)).sum())


def _without_zeros(counts: Array, share: float = 1e-4) -> Array:
    """``counts`` as a distribution in which an empty bin holds ``share`` of one count, taken from the others."""
    empty = counts == 0
    if empty.all():
        return np.full(len(counts), 1 / len(counts))
    held = np.where(empty, share, counts - share * empty.sum() / (~empty).sum())
    return np.asarray(held / held.sum())
