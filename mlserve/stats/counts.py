"""How surprising a count is: tails of the binomial and Poisson distributions, without scipy.

Sums over terms from ``math.lgamma`` where there are few, from the largest outwards; the normal approximation, corrected
for continuity, where each tail has so many terms that its error is far below what anybody decides by.
"""

from __future__ import annotations

from math import erfc, exp, inf, lgamma, log, sqrt

from mlserve.errors import InvalidInput

_TERMS = 200_000
"""Terms that are summed at most."""
_NEGLIGIBLE = 1e-18


def binomial_above(successes: int, trials: int, share: float) -> float:
    """The chance of ``successes`` or more in ``trials``, each with chance ``share``. Raises InvalidInput.

    >>> round(binomial_above(8, 10, 0.5), 6)
    0.054688
    """
    _check(successes >= 0 and trials >= 0 and 0 <= share <= 1, f"{successes} of {trials} at {share}")
    if successes <= 0:
        return 1.0
    if successes > trials or share == 0.0:
        return 0.0
    if share == 1.0:
        return 1.0
    mean = trials * share
    if successes <= mean:
        return max(0.0, 1.0 - _binomial_sum(successes - 1, trials, share, step=-1))
    return min(1.0, _binomial_sum(successes, trials, share, step=1))


def binomial_below(successes: int, trials: int, share: float) -> float:
    """The chance of ``successes`` or fewer.

    >>> round(binomial_below(2, 10, 0.5), 6)
    0.054688
    """
    return binomial_above(trials - successes, trials, 1.0 - share)


def poisson_above(count: int, mean: float) -> float:
    """The chance of ``count`` or more where ``mean`` are expected. Raises InvalidInput.

    >>> round(poisson_above(3, 1.0), 6)
    0.080301
    """
    _check(count >= 0 and 0 <= mean < inf, f"{count} at {mean}")
    if count <= 0:
        return 1.0
    if mean == 0.0:
        return 0.0
    if count <= mean:
        return max(0.0, 1.0 - _poisson_sum(count - 1, mean, step=-1))
    return min(1.0, _poisson_sum(count, mean, step=1))


def poisson_below(count: int, mean: float) -> float:
    """The chance of ``count`` or fewer.

    >>> round(poisson_below(0, 2.0), 6)
    0.135335
    """
    _check(count >= 0 and 0 <= mean < inf, f"{count} at {mean}")
    if count >= mean:
        return max(0.0, 1.0 - (_poisson_sum(count + 1, mean, step=1) if mean else 0.0))
    return min(1.0, _poisson_sum(count, mean, step=-1))


def _binomial_sum(start: int, trials: int, share: float, *, step: int) -> float:
    """The sum of terms from ``start`` away from the mean, until they no longer count."""
    term = exp(
        lgamma(trials + 1)
        - lgamma(start + 1)
        - lgamma(trials - start + 1)
        + start * log(share)
        + (trials - start) * log(1 - share)
    )
    total, at = 0.0, start
    odds = share / (1 - share)
    for _ in range(_TERMS):
        total += term
        if term <= total * _NEGLIGIBLE or not 0 <= at + step <= trials:
            return total
        term *= (trials - at) / (at + 1) * odds if step > 0 else at / (trials - at + 1) / odds
        at += step
    return _normal_tail(abs(start - trials * share) - 0.5, sqrt(trials * share * (1 - share)))


def _poisson_sum(start: int, mean: float, *, step: int) -> float:
    term = exp(start * log(mean) - mean - lgamma(start + 1))
    total, at = 0.0, start
    for _ in range(_TERMS):
        total += term
        if term <= total * _NEGLIGIBLE or at + step < 0:
            return total
        term *= mean / (at + 1) if step > 0 else at / mean
        at += step
    return _normal_tail(abs(start - mean) - 0.5, sqrt(mean))


def _normal_tail(distance: float, sd: float) -> float:
    return 0.5 * erfc(distance / sd / sqrt(2.0))


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise InvalidInput(f"{what} is no count")
