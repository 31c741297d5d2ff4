"""Many p-values at once: which may be believed (Benjamini–Hochberg, Bonferroni), and one for all (Simes, Cauchy).

p-values of the features ──► benjamini_hochberg ──► which features
                         └─► simes, cauchy ──► one p-value of the run ──► ``online_fdr`` over time
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atan, pi, tan
from typing import Any, Literal

import numpy as np

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]
PValues = Sequence[float] | Array
Correction = Literal["bh", "by", "bonferroni", "none"]

_HIGHEST = 0.999


def adjusted(p_values: PValues, correction: Correction) -> Array:
    """The p-values after ``correction``; those at most alpha are what it finds at level alpha. (n,) float64.

    ``bh`` bounds the share of false findings for independent or positively dependent tests, ``by`` for any;
    ``bonferroni`` bounds the chance of a single false one. Raises InvalidInput for values outside [0, 1] or NaN.
    Sources: Benjamini & Hochberg (1995), Benjamini & Yekutieli (2001).

    >>> adjusted([0.01, 0.04, 0.03, 0.5], "bh").round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    values = _checked(p_values)
    count = len(values)
    if correction == "none" or not count:
        return values
    if correction == "bonferroni":
        return np.minimum(values * count, 1.0)
    order = np.argsort(values, kind="stable")
    ranks = np.arange(1, count + 1)
    factor = (1 / ranks).sum() if correction == "by" else 1.0
    stepped = np.minimum.accumulate((values[order] * count / ranks * factor)[::-1])[::-1]
    result = np.empty(count)
    result[order] = np.minimum(stepped, 1.0)
    return result


def benjamini_hochberg(p_values: PValues, alpha: float) -> Array:
    """Which of the hypotheses are rejected so that the expected share of false ones is at most ``alpha``; (n,) bool.

    >>> benjamini_hochberg([0.001, 0.02, 0.04, 0.9], 0.05).tolist()
    [True, True, False, False]
    """
    return adjusted(p_values, "bh") <= alpha


def bonferroni(p_values: PValues, alpha: float) -> Array:
    """Which are rejected so that the chance of a single false one is at most ``alpha``; (n,) bool.

    >>> bonferroni([0.001, 0.02, 0.04, 0.9], 0.05).tolist()
    [True, False, False, False]
    """
    return adjusted(p_values, "bonferroni") <= alpha


def simes(p_values: PValues) -> float:
    """One p-value for "all of them are true", the smallest that Benjamini–Hochberg would give; 1.0 of none.

    Holds its level under independence and positive dependence. Source: Simes (1986).

    >>> simes([0.01, 0.02, 0.03])
    0.03
    """
    values = adjusted(p_values, "bh")
    return float(values.min()) if len(values) else 1.0


def cauchy(p_values: PValues, weights: PValues | None = None) -> float:
    """One p-value for "all of them are true" that nearly holds for small levels, whatever the dependence; 1.0 of none.

    The weighted mean of tan(π (½ − p)) is Cauchy-like in its tail. ``weights`` are (n,), not negative. A p-value above
    ``_HIGHEST`` counts as that: the tangent of one that is nearly 1 would outweigh all others. Equally correlated tests
    exceed the level by a half (measured: 0.075 at 0.05, 0.014 at 0.01, for 50 at ρ = ½).
    Sources: Liu & Xie, J. Am. Stat. Assoc. 115 (2020); Fang et al., Statistica Sinica 33 (2023) for the bound.

    >>> round(cauchy([0.001, 0.5, 0.9]), 6), round(cauchy([0.02, 0.02, 0.02]), 6)
    (0.003029, 0.02)
    """
    values = _checked(p_values)
    if not len(values):
        return 1.0
    if float(values.min()) == 0.0:
        return 0.0
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != values.shape or (shares < 0).any() or not shares.sum() > 0:
        raise InvalidInput(f"{len(values)} p-values need as many weights that are not negative")
    capped = np.minimum(values, _HIGHEST)
    total = sum(w * _tangent(float(p)) for p, w in zip(capped, shares / shares.sum(), strict=True))
    # Far out the arc tangent has no digits left; there it is π/2 − 1/x.
    return 1 / (pi * total) if total > 1e8 else float(0.5 - atan(total) / pi)


def _tangent(p: float) -> float:
    return 1 / (pi * p) if p < 1e-10 else tan(pi * (0.5 - p))


def _checked(p_values: PValues) -> Array:
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise InvalidInput("p-values are numbers from 0 to 1")
    return values
