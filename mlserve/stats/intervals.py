"""Means of paired values, and how sure they are, from sums that merge."""

from __future__ import annotations

from math import sqrt
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Interval = tuple[float, float]

Z_975 = 1.959963984540054
"""The normal distribution's quantile at 0.975."""


def t_975(freedom: float) -> float:
    """Student's t at 0.975 for ``freedom`` degrees of freedom, 1 and more; off by 0.004 at most from 3 on.

    Exact for 1 and 2, then Cornish and Fisher's expansion. Source: Abramowitz and Stegun 26.7.5.

    >>> round(t_975(1), 3), round(t_975(2), 3), round(t_975(30), 3)
    (12.706, 4.303, 2.042)
    """
    if freedom < 2:
        return 12.706204736174698
    if freedom < 3:
        return 4.302652729749462
    z = Z_975
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


class PairedMeans:
    """The weighted means of values before and after, and the spread of their difference; adding and merging are exact.

    The variance of a mean is that of a ratio of weighted sums, sum(w²(x - mean)²) / (sum w)² × n / (n - 1), which is
    s²/n where all weights are alike. Source: Särndal, Swensson and Wretman (1992), section 5.7. Sums are of deviations
    and shifted when merged, so that a large mean costs no digits (Chan, Golub and LeVeque, 1979).
    """

    def __init__(self) -> None:
        self.rows = 0
        # Before, after, after - before; sums of w, of w² times the deviation to the power of 0, 1 and 2.
        self._means: Array = np.zeros(3)
        self._weight = 0.0
        self._sums: Array = np.zeros((3, 3))

    def add(self, before: Array, after: Array, weights: Array | None = None) -> None:
        """Add rows: three (rows,) arrays of finite values and weights above 0."""
        if not len(before):
            return
        values = np.stack([before, after, np.subtract(after, before, dtype=np.float64)]).astype(np.float64)
        mass = np.ones(len(before)) if weights is None else np.asarray(weights, np.float64)
        part = PairedMeans()
        part.rows, part._weight = len(before), float(mass.sum())
        part._means = (values * mass).sum(axis=1) / part._weight
        deviations, squares = values - part._means[:, np.newaxis], mass**2
        part._sums = np.stack([(squares * deviations**power).sum(axis=1) for power in range(3)])
        self.merge(part)

    def merge(self, other: PairedMeans) -> None:
        """Add all rows of ``other``."""
        if not other.rows:
            return
        weight = self._weight + other._weight
        means = (self._means * self._weight + other._means * other._weight) / weight
        self._sums = _shifted(self._sums, self._means - means) + _shifted(other._sums, other._means - means)
        self.rows, self._weight, self._means = self.rows + other.rows, weight, means

    @property
    def before(self) -> float:
        return float(self._means[0])

    @property
    def after(self) -> float:
        return float(self._means[1])

    @property
    def difference(self) -> float:
        return float(self._means[2])

    @property
    def variances(self) -> tuple[float, float, float]:
        """Of the means before and after, and of their difference; NaN of fewer than two rows."""
        if self.rows < 2:
            return float("nan"), float("nan"), float("nan")
        of_means = self._sums[2] / self._weight**2 * (self.rows / (self.rows - 1))
        return float(of_means[0]), float(of_means[1]), float(of_means[2])

    def interval(self) -> Interval | None:
        """The 95 % interval of the mean difference by Student's t; None of fewer than two rows."""
        return around(self.difference, self.variances[2], self.rows)

    def share_interval(self) -> Interval | None:
        """The same where values are 0 and 1; rows that all agree are no proof that none would differ.

        Half a row is added for each of the four outcomes. Source: Agresti and Min (2005), Statistics in Medicine 24.
        """
        if self.rows < 2:
            return None
        # The rows that would say as much if each counted the same.
        rows = self._weight**2 / float(self._sums[0, 2])
        square = self._sums[2, 2] / self._sums[0, 2] + self.difference**2
        mean = self.difference * rows / (rows + 2)
        spread = (square * rows + 1) / (rows + 2) - mean**2
        half = Z_975 * sqrt(max(spread, 0.0) / (rows + 2))
        return max(mean - half, -1.0), min(mean + half, 1.0)

    def root_interval(self) -> Interval | None:
        """The interval of sqrt(after) - sqrt(before), as RMSE is of squared errors, by the delta method."""
        if self.rows < 2:
            return None
        of_before, of_after, of_difference = self.variances
        roots = [sqrt(max(mean, 0.0)) for mean in (self.before, self.after)]
        # A mean of squares that is 0 has no spread, whatever its slope.
        slopes = [0.5 / root if root else 0.0 for root in roots]
        covariance = (of_before + of_after - of_difference) / 2
        variance = slopes[0] ** 2 * of_before + slopes[1] ** 2 * of_after - 2 * slopes[0] * slopes[1] * covariance
        return around(roots[1] - roots[0], variance, self.rows)

    def state(self) -> dict[str, Any]:
        return {"rows": self.rows, "weight": self._weight, "means": self._means, "sums": self._sums}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        found = cls()
        found.rows, found._weight = state["rows"], state["weight"]
        found._means, found._sums = np.asarray(state["means"]), np.asarray(state["sums"])
        return found


def around(estimate: float, variance: float, rows: int) -> Interval | None:
    """The 95 % interval of ``estimate`` with this variance, learned from ``rows``; None of fewer than two.

    >>> low, high = around(0.5, 0.01, 3)
    >>> round(low, 3), round(high, 3)
    (0.07, 0.93)
    """
    if rows < 2:
        return None
    half = t_975(rows - 1) * sqrt(max(variance, 0.0))
    return estimate - half, estimate + half


def _shifted(sums: Array, by: Array) -> Array:
    """Sums of w² × deviation to the powers 0, 1 and 2, of deviations that are larger by ``by``."""
    none, first, second = sums
    return np.stack([none, first + by * none, second + 2 * by * first + by**2 * none])
