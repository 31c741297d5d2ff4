"""Which of several measured models are worth a look, and which is the best of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log

NOISE = 0.03
"""Latencies measured twice differ by about so much; gains closer than this count as equal."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A model among others: ratios are before ÷ after, ``drop`` is None where no metric was measured."""

    name: str
    size_ratio: float
    speedup: float
    drop: float | None
    passed: bool

    @property
    def gain(self) -> float:
        """The geometric mean of what it saves in size and in time."""
        return exp((log(self.size_ratio) + log(self.speedup)) / 2)


def front(models: Sequence[Standing]) -> list[str]:
    """The names of those that no other beats in size, speed and drop together, in their order.

    >>> front([Standing("a", 4, 2, 0.1, True), Standing("b", 2, 1, 0.0, True), Standing("c", 2, 1, 0.2, True)])
    ['a', 'b']
    """
    return [one.name for one in models if not any(_beats(other, one) for other in models)]


def best(models: Sequence[Standing]) -> str | None:
    """The name of the one that gains the most among those that passed; among equals the one that falls least.

    Size and time weigh the same; what is within ``NOISE`` of the most is its equal.

    >>> best([Standing("a", 4, 2, 0.1, False), Standing("b", 2, 1.5, 0.0, True), Standing("c", 2, 1.51, 0.1, True)])
    'b'
    """
    passed = [model for model in models if model.passed]
    if not passed:
        return None
    most = max(model.gain for model in passed)
    equals = [model for model in passed if model.gain >= most * (1 - NOISE)]
    return min(equals, key=_fall).name


def _beats(one: Standing, other: Standing) -> bool:
    mine, theirs = (_merits(model) for model in (one, other))
    return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def _merits(model: Standing) -> tuple[float, float, float]:
    return model.size_ratio, model.speedup, -_fall(model)


def _fall(model: Standing) -> float:
    if model.drop is None:
        return 0.0
    return model.drop if isfinite(model.drop) else float("inf")
