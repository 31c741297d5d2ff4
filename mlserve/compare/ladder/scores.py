"""The one number of a row that rankings, distributions and ROC curves are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlserve.compare.kinds import is_alike, kind_of
from mlserve.compare.pairs import Outputs, Pairs

Array = np.ndarray[Any, np.dtype[Any]]
What = Literal["value", "positive class", "top score"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Both answers' scores, (rows,) float64, and which of output ``output``'s values they are."""

    output: str
    what: What
    expected: Array
    actual: Array


def score_output(outputs: Outputs, rows: int) -> str | None:
    """The name of the first float output that has a value for each of ``rows``."""
    for name, output in outputs.items():
        if kind_of(output.dtype) == "float" and output.ndim and len(output) == rows and output.size:
            return name
    return None


def scores_of(pairs: Pairs) -> Scores | None:
    """The scores of the baseline's first float output; None where there is none, or the other's is no such output.

    One value a row is the score itself, of two (a classifier's) it is the last, the positive class; of more it is the
    largest.
    """
    name = score_output(pairs.expected, pairs.rows)
    if name is None or name not in pairs.actual or not is_alike(pairs.expected[name], pairs.actual[name]):
        return None
    expected, actual = (side[name].reshape(pairs.rows, -1) for side in (pairs.expected, pairs.actual))
    width = expected.shape[1]
    what: What = "value" if width == 1 else "positive class" if width == 2 else "top score"
    return Scores(name, what, _score(expected), _score(actual))


def _score(values: Array) -> Array:
    if values.shape[1] > 2:
        return np.asarray(values.astype(np.float64).max(axis=1))
    return values[:, -1].astype(np.float64)
