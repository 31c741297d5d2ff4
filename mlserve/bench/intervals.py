"""Confidence intervals: Student's t over repeats, and the median of ratios by its order statistics. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import comb, sqrt

Interval = tuple[float, float]

_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Quantiles of Student's t at 0.975, for 1 to 30 degrees of freedom; 1.96 is its limit. Source: any table of t."""


def t_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of the mean of ``values``, None where one value says nothing about spread.

    >>> low, high = t_interval([9.0, 10.0, 11.0])
    >>> round(low, 2), round(high, 2)
    (7.52, 12.48)
    """
    count = len(values)
    if count < 2:
        return None
    half = (_T_975[count - 2] if count <= len(_T_975) + 1 else 1.96) * statistics.stdev(values) / sqrt(count)
    mean = statistics.fmean(values)
    return mean - half, mean + half


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The narrowest interval between order statistics that holds the median with ``confidence``, else the range.

    Distribution-free: the number of values below the median is binomial. Five values give their range, at 93.75 %.
    Source: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.

    >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    (1.0, 5.0)
    """
    ordered = sorted(values)
    count = len(ordered)
    outside, rank = 0.0, 0
    while rank < count // 2:
        outside += 2 * comb(count, rank) / 2**count
        if outside > 1 - confidence:
            break
        rank += 1
    lowest = max(rank - 1, 0)
    return ordered[lowest], ordered[count - 1 - lowest]
