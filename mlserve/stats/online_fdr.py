"""A p-value now and then, for ever: LORD++ spends its error on each so that the share of false alarms stays bounded.

    state ──level──► reject iff p ≤ level ──► next state        (a value: how many tests, and which were rejected)

A rejection earns error back, a quiet time spends it ever more slowly, and none of it is lost when the state is kept.
"""

from __future__ import annotations

from functools import cache
from math import exp, log, sqrt

import msgspec

from mlserve.errors import InvalidInput


class LordState(msgspec.Struct, frozen=True):
    """All that LORD++ remembers: ``tests`` made so far, and the numbers (1 is the first) of those rejected.

    ``alpha`` bounds the false discovery rate at every moment, ``wealth`` (0 to ``alpha``) is what it begins with.
    """

    alpha: float
    wealth: float
    tests: int = 0
    rejections: tuple[int, ...] = ()

    @classmethod
    def start(cls, alpha: float) -> LordState:
        """Nothing tested yet, half of ``alpha`` to begin with. Raises InvalidInput unless 0 < alpha < 1.

        >>> LordState.start(0.05)
        LordState(alpha=0.05, wealth=0.025, tests=0, rejections=())
        """
        if not 0 < alpha < 1:
            raise InvalidInput(f"alpha is between 0 and 1, not {alpha}")
        return cls(alpha, alpha / 2)


def next_level(state: LordState) -> float:
    """The level that the next p-value has to reach: α_t = γ_t W₀ + (α − W₀) γ_{t−τ₁} + α Σ_{j≥2} γ_{t−τ_j}.

    Source: Ramdas, Yang, Wainwright & Jordan, "Online control of the false discovery rate with decaying memory"
    (2017), section 3; holds for independent p-values.

    >>> round(next_level(LordState.start(0.05)), 6)
    0.00137
    """
    now = state.tests + 1
    level = _share(now) * state.wealth
    for place, rejected in enumerate(state.rejections):
        level += _share(now - rejected) * (state.alpha - state.wealth if place == 0 else state.alpha)
    return level


def judged(state: LordState, p_value: float) -> tuple[LordState, bool]:
    """The state after one more p-value, and whether it is rejected. Raises InvalidInput for one outside [0, 1].

    >>> state, rejected = judged(LordState.start(0.05), 0.0001)
    >>> rejected, state.tests, state.rejections
    (True, 1, (1,))
    """
    if not 0 <= p_value <= 1:
        raise InvalidInput(f"p-values are numbers from 0 to 1, not {p_value}")
    now = state.tests + 1
    is_rejected = p_value <= next_level(state)
    rejections = (*state.rejections, now) if is_rejected else state.rejections
    return LordState(state.alpha, state.wealth, now, rejections), is_rejected


def _share(place: int) -> float:
    """γ_j ∝ ln(max(j, 2)) / (j e^√(ln j)), which sum to 1. Source: Javanmard & Montanari (2018), section 3."""
    return _raw(place) / _total()


def _raw(place: int) -> float:
    return log(max(place, 2)) / (place * exp(sqrt(log(place))))


@cache
def _total(exact: int = 10_000) -> float:
    """The sum of all: ``exact`` terms, and the rest by its integral from half a step beyond the last.

    ∫ ln x / (x e^√(ln x)) dx from X is 2 e^−s (s³ + 3s² + 6s + 6) with s = √(ln X).
    """
    s = sqrt(log(exact + 0.5))
    return sum(_raw(place) for place in range(1, exact + 1)) + 2 * exp(-s) * (s**3 + 3 * s**2 + 6 * s + 6)
