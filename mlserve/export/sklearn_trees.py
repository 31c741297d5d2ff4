"""Thresholds of histogram gradient boosting, brought to float32 so that the same rows go left."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np


def with_float32_thresholds(estimator: Any) -> Any:
    """``estimator``, or a copy of it whose histogram trees have their thresholds rounded down to float32.

    The converter rounds to the nearest float32; where that is up, a float32 feature between the two goes left in the
    graph and right in the original (sklearn-onnx#1192). For a float32 x, x <= t holds exactly if x <= floor32(t) does.
    """
    if not any(True for _ in _histogram_trees(estimator)):
        return estimator
    estimator = copy.deepcopy(estimator)
    for tree in _histogram_trees(estimator):
        tree.nodes["num_threshold"] = floor32(tree.nodes["num_threshold"])
    return estimator


def floor32(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The largest float32 not above each of ``values``.

    >>> bool(floor32(np.array([0.1]))[0] <= 0.1 < np.float32(0.1))
    True
    """
    rounded = values.astype(np.float32)
    above = rounded > values
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def _histogram_trees(value: Any, depth: int = 0) -> Iterator[Any]:
    """Every TreePredictor inside ``value``, through pipelines, searches, ensembles and calibration."""
    if depth > 8:  # deeper than any nesting of meta-estimators; ends a cycle
        return
    for iteration in getattr(value, "_predictors", ()):
        yield from iteration
    inner: list[Any] = []
    if hasattr(value, "get_params"):
        inner = [part for name, part in vars(value).items() if name.endswith("_") or name in ("steps", "transformers")]
    elif isinstance(value, list | tuple):
        inner = list(value)
    elif isinstance(value, dict):
        inner = list(value.values())
    for part in inner:
        if not isinstance(part, str | int | float | np.ndarray):
            yield from _histogram_trees(part, depth + 1)
