"""The mean of a stream, with an interval that holds at every moment at once: one may look as often as one likes.

bounded values (a loss clipped to [0, 1]) ──► BernsteinState ──► interval, exact at any n
any values, many of them                  ──► asymptotic_interval over their mean and variance
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import msgspec
import numpy as np

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]
Interval = tuple[float, float]

BURN_IN = 100
"""Values before which an asymptotic interval is no ground to decide on."""


class BernsteinState(msgspec.Struct, frozen=True):
    """All that the empirical-Bernstein confidence sequence remembers of ``count`` values in [0, 1], in their order.

    ``weighted`` and ``weights`` are Σλx and Σλ, ``spread`` the sum that widens the interval; ``total`` is Σx + ½ and
    ``deviations`` Σ(x − μ̂)² + ¼, from which the next λ comes. ``alpha`` is fixed: the λ depend on it.
    """

    alpha: float = 0.05
    count: int = 0
    total: float = 0.5
    deviations: float = 0.25
    weighted: float = 0.0
    weights: float = 0.0
    spread: float = 0.0

    def added(self, values: Array) -> BernsteinState:
        """The state after ``values`` (rows,), in [0, 1]; the same in one piece as in many. Raises InvalidInput."""
        x = np.asarray(values, np.float64)
        if x.ndim != 1 or not ((x >= 0) & (x <= 1)).all():
            raise InvalidInput("a bounded mean takes one number from 0 to 1 a row")
        if not len(x):
            return self
        places = self.count + np.arange(1, len(x) + 1)
        totals = self.total + np.cumsum(x)
        means = totals / (places + 1)
        means_before = np.concatenate([[self.total / (self.count + 1)], means[:-1]])
        deviations = self.deviations + np.cumsum((x - means) ** 2)
        variances_before = np.concatenate([[self.deviations / (self.count + 1)], deviations[:-1] / places[1:]])
        # λ may look at what came before the value, never at the value itself.
        bets = np.minimum(np.sqrt(2 * log(2 / self.alpha) / (variances_before * places * np.log1p(places))), 0.5)
        return BernsteinState(
            self.alpha,
            self.count + len(x),
            float(totals[-1]),
            float(deviations[-1]),
            self.weighted + float((bets * x).sum()),
            self.weights + float(bets.sum()),
            self.spread + float(((x - means_before) ** 2 * (-np.log1p(-bets) - bets)).sum()),
        )

    @property
    def mean(self) -> float | None:
        """The plain mean of the values, None of none."""
        return (self.total - 0.5) / self.count if self.count else None

    def interval(self) -> Interval:
        """Where the mean is, at every n at once, with probability 1 − ``alpha``; (0, 1) of nothing.

        Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (2024), theorem 2.

        >>> low, high = BernsteinState().added(np.tile([0.0, 1.0], 500)).interval()
        >>> round(low, 3), round(high, 3)
        (0.436, 0.562)
        """
        if not self.weights:
            return 0.0, 1.0
        half = (log(2 / self.alpha) + self.spread) / self.weights
        centre = self.weighted / self.weights
        return max(0.0, centre - half), min(1.0, centre + half)


def asymptotic_interval(
    mean: float, variance: float, count: float, *, alpha: float = 0.05, planned: float = 1000.0
) -> Interval:
    """Where the mean of a stream is, at every n after ``BURN_IN`` at once, nearly with probability 1 − ``alpha``.

    ``mean`` and ``variance`` are of the ``count`` values so far; the interval is tightest about ``planned`` values.
    Source: Waudby-Smith et al., "Time-uniform central limit theory", Annals of Statistics 52 (2024), theorem 2.2.

    >>> low, high = asymptotic_interval(0.0, 1.0, 1000)
    >>> round(high, 4)
    0.096
    """
    if not count > 0 or variance < 0:
        raise InvalidInput("an interval needs at least one value and a variance that is not negative")
    rho_squared = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / planned
    inner = count * rho_squared + 1
    half = sqrt(variance * 2 * inner / (count * count * rho_squared) * log(sqrt(inner) / alpha))
    return mean - half, mean + half


def asymptotic_lower(
    mean: float, variance: float, count: float, *, alpha: float = 0.05, planned: float = 1000.0
) -> float:
    """What a stream's mean exceeds, at every n after ``BURN_IN`` at once, nearly with probability 1 − ``alpha``.

    For "the loss has risen" the one-sided bound is tighter. Source: as ``asymptotic_interval``, appendix on one side.
    """
    if not count > 0 or variance < 0:
        raise InvalidInput("a bound needs at least one value and a variance that is not negative")
    rho_squared = (-2 * log(2 * alpha) + log(1 - 2 * log(2 * alpha))) / planned
    inner = count * rho_squared + 1
    return mean - sqrt(variance * 2 * inner / (count * count * rho_squared) * log(1 + sqrt(inner) / (2 * alpha)))
