"""Two samples to judge, and detectors made the short way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlserve.drift.detectors.detector import Array, Finding, Options, Sample
from mlserve.drift.detectors.table import DETECTORS

PERMUTATIONS = 60
SHORT = Options(permutations=PERMUTATIONS, epochs=2)


def normal(rows: int, shift: float = 0.0, seed: int = 0, features: int = 4) -> Array:
    return np.random.default_rng(seed).normal(shift, 1, size=(rows, features))


def scaled(reference: Array, window: Array) -> tuple[Array, Array]:
    """Both as detectors of whole rows see them: float32, by the reference's mean and deviation."""
    mean, sd = reference.mean(axis=0), reference.std(axis=0)
    return tuple(np.ascontiguousarray((one - mean) / sd, np.float32) for one in (reference, window))  # type: ignore


def findings(name: str, reference: Sample, window: Sample, **options: Any) -> tuple[Finding, ...]:
    return DETECTORS[name](replace(SHORT, **options)).run(reference, window)


def finding(name: str, reference: Array, window: Array, **options: Any) -> Finding:
    (only,) = findings(name, {"x": reference}, {"x": window}, **options)
    return only
