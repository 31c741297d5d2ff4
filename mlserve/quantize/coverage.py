"""Whether the ranges fixed on calibration data fit the values that evaluation data brings about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mlserve.quantize.calibration import RowSource, spread
from mlserve.quantize.observing import observe
from mlserve.quantize.quantizer import Calibrated

MAX_CLIPPED = 0.05
"""Of a tensor's values, as a share, beyond those that the rule cuts by choice.

Calibration data of the same kind as the evaluation's cuts well below 0.01."""

MIN_USED = 0.125
"""Of a tensor's range, as a share: below it three of the eight bits are lost."""

MAX_ROWS = 1024
NAMED = 3


@dataclass(frozen=True, slots=True)
class TensorCoverage:
    """Of the values that one tensor takes on evaluation data: the share ``clipped``, and the share of its range
    (``low`` to ``high``, zero included) that they ``used``. ``cut`` is the share of the calibration data's own values
    that the rule left outside."""

    name: str
    low: float
    high: float
    clipped: float
    used: float
    cut: float = 0.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """Every quantized tensor's coverage, in the order of the graph, over ``rows`` evaluation rows."""

    tensors: tuple[TensorCoverage, ...]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """The worst of both figures and how many tensors there are; each tensor's own in ``tensors``."""
        return {
            "rows": self.rows,
            "clipped": max((tensor.clipped for tensor in self.tensors), default=0.0),
            "used": min((tensor.used for tensor in self.tensors), default=1.0),
            "tensors": [asdict(tensor) for tensor in self.tensors],
        }


def measure_coverage(calibrated: Calibrated, evaluation: RowSource) -> Coverage:
    """Run the FP32 graph on up to ``MAX_ROWS`` evaluation rows and hold its values against the ranges."""
    seen = {name: _Seen(min(low, 0.0), max(high, 0.0)) for name, (low, high) in calibrated.ranges.items()}
    rows = 0

    def batches(size: int) -> Any:
        nonlocal rows
        rows = 0
        for batch in spread(evaluation, MAX_ROWS, size):
            rows += batch.rows
            yield batch

    for values in observe(calibrated.graph, list(seen), batches):
        for name, array in values.items():
            seen[name].add(array)
    return Coverage(tuple(one.coverage(name, calibrated.cut.get(name, 0.0)) for name, one in seen.items()), rows)


def coverage_objections(coverage: Coverage) -> list[str]:
    """Why the calibration data does not stand for the evaluation data, naming the first tensors that show it; pure.

    >>> coverage_objections(Coverage((TensorCoverage("conv1", 0.0, 0.1, 0.61, 1.0),), 200))
    ["the calibration data does not cover the evaluation data: of the values of 'conv1' 61 % are cut off"]
    """
    reasons = []
    clipped = [tensor for tensor in coverage.tensors if tensor.clipped > MAX_CLIPPED + tensor.cut]
    if clipped:
        facts = [f"of the values of '{t.name}' {_percent(t.clipped)} are cut off" for t in clipped]
        reasons.append(f"the calibration data does not cover the evaluation data: {_listed(facts)}")
    unused = [tensor for tensor in coverage.tensors if tensor.used < MIN_USED]
    if unused:
        facts = [f"the range of '{t.name}' is used to {_percent(t.used)}" for t in unused]
        reasons.append(f"the calibration data has other proportions than the evaluation data: {_listed(facts)}")
    return reasons


@dataclass(slots=True)
class _Seen:
    """Counts of what one tensor takes, as it comes."""

    low: float
    high: float
    total: int = 0
    outside: int = 0
    lowest: float = field(default=0.0)
    highest: float = field(default=0.0)

    def add(self, values: np.ndarray[Any, Any]) -> None:
        finite = values[np.isfinite(values)]
        self.total += finite.size
        self.outside += int(((finite < self.low) | (finite > self.high)).sum())
        self.lowest = min(self.lowest, float(finite.min(initial=0)))
        self.highest = max(self.highest, float(finite.max(initial=0)))

    def coverage(self, name: str, cut: float) -> TensorCoverage:
        width = self.high - self.low
        reached = min(self.highest, self.high) - max(self.lowest, self.low)
        used = reached / width if width > 0 else 1.0
        return TensorCoverage(name, self.low, self.high, self.outside / max(self.total, 1), used, cut)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _listed(facts: Sequence[str]) -> str:
    more = f", and {len(facts) - NAMED} more" if len(facts) > NAMED else ""
    return "; ".join(facts[:NAMED]) + more
