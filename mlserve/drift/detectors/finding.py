"""Findings from what an engine answered: p-values that are safe to decide by, and findings that are no answer."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any

import numpy as np

from mlserve.drift.detectors.detector import Effect, Finding, State

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
"""What a p-value that an engine rounded to zero is at most."""


def safe(p_value: float) -> float:
    """A p-value that is never zero: one that underflowed is at most the smallest float32.

    >>> safe(0.0) > 0.0, safe(0.25)
    (True, 0.25)
    """
    return max(p_value, SMALLEST)


def permuted(p_value: float, permutations: int) -> float:
    """(k + 1) / (n + 1) of a p-value k / n, which holds its level at any n. Source: Phipson & Smyth (2010).

    >>> permuted(0.0, 99), permuted(0.5, 99)
    (0.01, 0.51)
    """
    return (round(p_value * permutations) + 1) / (permutations + 1)


def unanswered(
    detector: str,
    test: str,
    engine: str,
    features: tuple[str, ...],
    rows: tuple[int, int],
    missing: tuple[int, int],
    smallest: int,
) -> Finding | None:
    """The finding that there was nothing to judge by, or too little; None where there is enough."""
    feature = features[0] if len(features) == 1 else None
    if min(rows) >= smallest:
        return None
    sides = ("the reference", "the window")
    for side, left, gone in zip(sides, rows, missing, strict=True):
        if not left and gone:
            note = f"all {gone:,} rows of {side} are missing"
            return Finding(detector, test, engine, features, feature, State.MISSING, rows, missing, notes=(note,))
    side, left = min(zip(sides, rows, strict=True), key=lambda pair: pair[1])
    note = f"{side} has {left:,} rows; {smallest:,} are needed"
    return Finding(detector, test, engine, features, feature, State.INSUFFICIENT, rows, missing, notes=(note,))


def judged(
    detector: str,
    test: str,
    engine: str,
    features: tuple[str, ...],
    rows: tuple[int, int],
    missing: tuple[int, int],
    *,
    statistic: float,
    p_value: float,
    p_safe: float,
    effect: Effect,
    notes: tuple[str, ...] = (),
    figures: Mapping[str, Any] | None = None,
) -> Finding:
    """A finding with an answer; one whose p-value is no number is none, and says so rather than "no drift"."""
    if any(missing):
        notes = (f"without {missing[0]:,} reference and {missing[1]:,} window rows that are missing", *notes)
    feature = features[0] if len(features) == 1 else None
    known = figures or {}
    if not isfinite(p_value):
        note = f"the engine's p-value is {p_value}: nothing can be said"
        state = State.INSUFFICIENT
        return Finding(
            detector, test, engine, features, feature, state, rows, missing, effect=effect, notes=(*notes, note)
        )
    stated = None if isnan(statistic) else statistic
    return Finding(
        detector,
        test,
        engine,
        features,
        feature,
        State.JUDGED,
        rows,
        missing,
        stated,
        p_value,
        p_safe,
        effect,
        notes,
        known,
    )
