"""How far a row's answer moved from one model to another, whatever the metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlserve.compare.kinds import as_comparable, is_alike, kind_of

Array = np.ndarray[Any, np.dtype[Any]]


def row_errors(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """How far each row's first float output moved: squared distance ÷ squared length; 1 for a changed label.

    (rows,) float64; smooth in what changed, unlike a metric that counts. Infinite where a value turned NaN, and for all
    rows of an output of another shape.

    >>> row_errors({"y": np.array([[3.0, 4.0]])}, {"y": np.array([[3.0, 4.5]])}).tolist()
    [0.01]
    """
    floats = [name for name, output in before.items() if kind_of(output.dtype) == "float" and output.ndim]
    name = floats[0] if floats else next(iter(before))
    output = np.atleast_1d(before[name])
    if not is_alike(output, np.atleast_1d(after[name])):
        return np.full(len(output), np.inf)
    if not floats:
        changed = output != np.atleast_1d(after[name])
        return np.asarray(changed.reshape(len(output), -1).mean(axis=1))
    a, b = (as_comparable(values).reshape(len(output), -1) for values in (output, after[name]))
    with np.errstate(invalid="ignore"):
        moved = ((a - b) ** 2).sum(axis=1) / np.maximum((a**2).sum(axis=1), 1e-30)
    return np.where(np.isnan(moved), np.inf, moved)
