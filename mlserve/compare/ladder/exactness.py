"""The first rung: how many rows are equal to the bit, how many within tolerance, and the largest gaps by output."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from mlserve.compare.ladder.judging import Judged, JudgedOutput, Limits, judge
from mlserve.compare.pairs import Pairs, State
from mlserve.core.dtypes import from_numpy
from mlserve.errors import Unsupported


@dataclass(slots=True)
class _Tally:
    """What was seen of one output. Counts are of rows, ``nan_mismatches`` of values."""

    datatype: str
    tolerance: dict[str, Any]
    rows: int = 0
    identical: int = 0
    within_tolerance: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: int = 0
    nan_mismatches: int = 0
    missing: int = 0
    other_kind: int = 0
    other_shape: int = 0

    def add(self, output: JudgedOutput, rows: int) -> None:
        self.rows += rows
        self.identical += int(np.count_nonzero(output.identical))
        self.within_tolerance += int(np.count_nonzero(output.within))
        self.max_abs = max(self.max_abs, output.max_abs)
        self.max_rel = max(self.max_rel, output.max_rel)
        self.max_ulp = max(self.max_ulp, output.max_ulp)
        self.nan_mismatches += output.nan_mismatches
        self.missing += rows if output.problem == "missing" else 0
        self.other_kind += rows if output.problem == "kind" else 0
        self.other_shape += rows if output.problem == "shape" else 0

    def merge(self, other: _Tally) -> None:
        for name in ("rows", "identical", "within_tolerance", "nan_mismatches", "missing", "other_kind", "other_shape"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("max_abs", "max_rel", "max_ulp"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))


class Exactness:
    """Rows equal and within tolerance, over all outputs and for each. Sums and maxima: merging is exact."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.requests = self.rows = self.identical = self.within_tolerance = 0
        self._outputs: dict[str, _Tally] = {}

    def add(self, pairs: Pairs) -> None:
        self.learn(judge(pairs, self._limits))

    def learn(self, judged: Judged) -> None:
        """``add`` of what is judged already."""
        # A request in pieces is counted where it begins.
        first = judged.pairs.first_rows
        self.requests += len(judged.pairs.request_ids) if first is None else int(np.count_nonzero(first == 0))
        self.rows += judged.rows
        self.identical += int(np.count_nonzero(judged.identical))
        self.within_tolerance += int(np.count_nonzero(judged.within))
        for output in judged.outputs:
            if output.name not in self._outputs:
                self._outputs[output.name] = _Tally(_datatype(output.dtype), asdict(output.tolerance))
            self._outputs[output.name].add(output, judged.rows)

    def merge(self, other: Self) -> None:
        self.requests += other.requests
        self.rows += other.rows
        self.identical += other.identical
        self.within_tolerance += other.within_tolerance
        for name, tally in other._outputs.items():
            if name in self._outputs:
                self._outputs[name].merge(tally)
            else:
                self._outputs[name] = _Tally(**asdict(tally))

    def figures(self) -> dict[str, Any]:
        """``requests``, ``rows``, ``identical``, ``within_tolerance`` and ``outputs``, a mapping for each by name."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "identical": self.identical,
            "within_tolerance": self.within_tolerance,
            "outputs": [{"name": name, **asdict(self._outputs[name])} for name in sorted(self._outputs)],
        }

    @property
    def max_abs(self) -> float:
        """The largest gap of any output."""
        return max((tally.max_abs for tally in self._outputs.values()), default=0.0)

    def state(self) -> State:
        return {
            "limits": asdict(self._limits),
            "counts": [self.requests, self.rows, self.identical, self.within_tolerance],
            "outputs": {name: asdict(tally) for name, tally in self._outputs.items()},
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        limits = state["limits"]
        self = cls(Limits(limits["atol"], limits["rtol"], tuple(limits["precisions"])))
        self.requests, self.rows, self.identical, self.within_tolerance = state["counts"]
        self._outputs = {name: _Tally(**tally) for name, tally in state["outputs"].items()}
        return self


def _datatype(dtype: np.dtype[Any]) -> str:
    try:
        return from_numpy(dtype).value
    except Unsupported:
        return str(dtype)
