"""Whether two sets of outputs decide alike: the rule behind the metric and the replay figure ``agreement``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.compare.kinds import as_comparable, is_alike, kind_of
from mlserve.errors import InvalidInput, Unsupported

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """``same`` of ``total`` positions were decided alike."""

    same: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Between 0 and 1. Raises InvalidInput where there was nothing to decide."""
        if not self.total:
            raise InvalidInput("there are no rows to compare")
        return self.same / self.total

    def merge(self, other: Agreement) -> Agreement:
        return Agreement(self.same + other.same, self.total + other.total)


def agreement(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> Agreement:
    """At how many positions both outputs decide alike; every position counts, such as each token of a sequence.

    Compared is the first integer, boolean or string output of ``expected``, else the arg max over the last axis of its
    first float output. One float a position (last axis of length 1, or rank 1) has no arg max: it is taken as the
    probability of "yes" and compared as ``> 0.5``; where ``expected`` leaves [0, 1] it is no probability, and any
    answer would be made up. A position that is NaN on one side only does not agree; nor does any where
    ``actual`` lacks the output or gives it another shape or kind.

    Raises Unsupported where no output can be decided upon.

    >>> agreement({"p": np.array([[0.1, 0.9], [0.6, 0.4]])}, {"p": np.array([[0.2, 0.8], [0.3, 0.7]])})
    Agreement(same=1, total=2)
    """
    name = deciding_output(expected)
    wanted = decisions(name, expected[name])
    if name not in actual or not is_alike(expected[name], actual[name]):
        return Agreement(0, wanted.size)
    return Agreement(int(np.count_nonzero(wanted == decided(np.asarray(actual[name])))), wanted.size)


def deciding_output(outputs: Mapping[str, Array]) -> str:
    """The name of the output that carries the decision. Raises Unsupported where none can."""
    for kinds in (("integer", "text"), ("float",)):
        for name, output in outputs.items():
            if kind_of(np.asarray(output).dtype) in kinds:
                return name
    raise Unsupported(f"none of the outputs {', '.join(outputs)} is a label or a score")


def decisions(name: str, output: Array) -> Array:
    """What output ``name`` decides at each position: its labels, else the index of the largest score, else 0 or 1.

    A position with a NaN among its scores decides -1, which is no label's index. Raises Unsupported for one float a
    position that leaves [0, 1].
    """
    output = np.asarray(output)
    if is_single(output):
        values = as_comparable(output)
        if not ((values >= 0) & (values <= 1) | np.isnan(values)).all():
            raise Unsupported(
                f"output '{name}' is one number a row and not a probability, so it decides nothing",
                hint="--metric rmse or --metric mae measures numbers",
            )
    return decided(output)


def decided(output: Array) -> Array:
    """What ``decisions`` tells, of any output: one number a position is taken as a probability, whatever it is."""
    values = as_comparable(output)
    if kind_of(output.dtype) != "float":
        return values
    scores = values[..., np.newaxis] if output.ndim < 2 else values
    if not scores.shape[-1]:
        return np.full(scores.shape[:-1], -1)
    best = (scores[..., 0] > 0.5).astype(np.int64) if is_single(output) else scores.argmax(axis=-1)
    return np.where(np.isnan(scores).any(axis=-1), -1, best)


def is_single(output: Array) -> bool:
    """Whether the output is one float a position, which decides only where it is a probability."""
    return kind_of(output.dtype) == "float" and (output.ndim < 2 or output.shape[-1] == 1)
