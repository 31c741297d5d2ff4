"""Whether the best classes stay the best: of each position's k highest scores, those that are among both sides' k."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK_VALUES = 1 << 20


def kept_of_top(wanted: Array, given: Array, k: int) -> Array:
    """(positions,) how many of ``given``'s ``k`` highest scores are among ``wanted``'s ``k`` highest.

    Both are (positions, classes) float scores, of more than ``k`` classes. A class whose score equals the k-th of
    ``wanted`` is among them, whichever of equal ones a sort would take. NaN is the lowest score.

    >>> kept_of_top(np.array([[0.5, 0.3, 0.2]]), np.array([[0.5, 0.2, 0.3]]), 2).tolist()
    [1]
    """
    step = max(1, _CHUNK_VALUES // wanted.shape[1])
    parts = [_kept(wanted[at : at + step], given[at : at + step], k) for at in range(0, len(wanted), step)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def top_gap(scores: Array) -> Array:
    """(positions,) how far the highest of (positions, classes) scores is above the second; NaN where a score is NaN.

    One column is a probability p, which stands against 1 - p.

    >>> top_gap(np.array([[0.5, 0.25, 0.25]])).tolist(), top_gap(np.array([[0.75]])).tolist()
    ([0.25], [0.5])
    """
    if scores.shape[1] == 1:
        return np.asarray(np.abs(2 * scores[:, 0] - 1))
    best = np.partition(scores, -2, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isnan(scores).any(axis=1), np.nan, best[:, 1] - best[:, 0]))


def _kept(wanted: Array, given: Array, k: int) -> Array:
    one, other = (np.where(np.isnan(side), -np.inf, side) for side in (wanted, given))
    bound = np.partition(one, -k, axis=1)[:, -k]
    best = np.argpartition(other, -k, axis=1)[:, -k:]
    return np.asarray((np.take_along_axis(one, best, axis=1) >= bound[:, np.newaxis]).sum(axis=1))
