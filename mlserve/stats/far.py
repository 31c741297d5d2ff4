"""How many rows of a sample lie farther out than those of another, by Mahalanobis' distance.

half of the reference ─► mean, shrunk covariance ─► distances of the other half ─► the bound of the farthest of them
                                                ─► distances of the window      ─► how many are beyond, and by chance
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]

TAIL = 0.02


@dataclass(frozen=True, slots=True)
class Far:
    """``share`` of the window's rows are beyond what ``usual_share`` of the reference's are; ``p_value`` is exact for
    rows that are exchangeable. ``distances`` are the window's, (rows,), in the order that it has."""

    share: float
    usual_share: float
    p_value: float
    distances: Array


def far_rows(reference: Array, window: Array, random: np.random.Generator, tail: float = TAIL) -> Far:
    """How many rows of ``window`` are as far out as the ``tail`` of ``reference``; both (rows, width), finite.

    Raises InvalidInput for fewer than four rows of the reference or none of the window.
    """
    if len(reference) < 4 or not len(window):
        raise InvalidInput("a tail needs four rows of the reference at least, and one of the window")
    rows = random.permutation(len(reference))
    learned, held = reference[rows[: len(rows) // 2]], reference[rows[len(rows) // 2 :]]
    mean, inverse_root = _whitening(learned.astype(np.float64))
    usual, seen = (np.linalg.norm((part - mean) @ inverse_root, axis=1) for part in (held, window))
    beyond = max(1, round(tail * len(usual)))
    bound = np.sort(usual)[-beyond]
    count = int((seen >= bound).sum())
    p_value = beyond_by_chance(count, len(window), beyond, len(usual))
    return Far(count / len(window), beyond / len(usual), p_value, seen)


def beyond_by_chance(count: int, rows: int, beyond: int, held: int) -> float:
    """The chance that at least ``count`` of ``rows`` rows are at or above the ``beyond``-th largest of ``held`` others.

    Exact for exchangeable rows without ties, and larger with them: a beta-binomial tail. Source: Wilks, "Statistical
    prediction with special reference to the problem of tolerance limits" (1942).

    >>> round(beyond_by_chance(1, 1, 1, 9), 4)
    0.1
    """
    a, b = beyond, held - beyond + 1

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    total = 0.0
    for k in range(count, rows + 1):
        log_choose = lgamma(rows + 1) - lgamma(k + 1) - lgamma(rows - k + 1)
        total += exp(log_choose + log_beta(k + a, rows - k + b) - log_beta(a, b))
    return min(1.0, max(total, 5e-324))


def shrunk_covariance(values: Array) -> Array:
    """The covariance of rows (rows, width), drawn towards a multiple of the identity as far as it is noise.

    Source: Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004).
    """
    rows, width = values.shape
    centred = values - values.mean(axis=0)
    found = centred.T @ centred / rows
    scale = float(np.trace(found)) / width
    squares = centred**2
    noise = float((squares.T @ squares).sum() / rows - (found**2).sum()) / (rows * width)
    spread = float((found**2).sum()) / width - scale**2
    share = 1.0 if spread <= 0 else min(1.0, max(0.0, noise / spread))
    shrunk: Array = (1 - share) * found + share * scale * np.eye(width)
    return shrunk


def _whitening(values: Array) -> tuple[Array, Array]:
    """The mean, and what makes the covariance of rows one."""
    roots, axes = np.linalg.eigh(shrunk_covariance(values))
    least = max(float(roots[-1]) * 1e-9, 1e-300)
    return values.mean(axis=0), axes / np.sqrt(np.maximum(roots, least))
