"""The gate: from what was measured to why a quantized model is refused. Pure, and the same for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

MIN_SIZE_GAIN = 1.05
MIN_SPEED_GAIN = 1.1
"""A model is worth having when it is smaller or faster by such a factor; less speed is lost in measuring."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A quality metric before and after, over ``rows`` evaluation rows.

    ``drop`` is how much worse it got, in the metric's own units, whichever way is better; ``interval`` holds the drop
    with 95 % confidence (bootstrap over rows).
    """

    name: str
    before: float
    after: float
    drop: float
    interval: tuple[float, float]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: what is not finite, such as a metric over NaN, is null."""
        figures = {name: _finite(value) for name, value in asdict(self).items() if name not in ("name", "interval")}
        return {"name": self.name, **figures, "interval": [_finite(bound) for bound in self.interval]}


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of the quantized file: sizes as before ÷ after; ``speedup`` and ``metric`` None where unmeasured.

    ``objections`` are the method's own, ``is_finite`` whether no output turned NaN or infinite that was not.
    """

    size_ratio: float
    speedup: float | None
    metric: Metric | None
    is_finite: bool = True
    objections: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Demands:
    """What the user asks for. ``is_confident`` judges the upper bound of the drop instead of its point estimate."""

    max_drop: float
    min_speedup: float | None = None
    is_confident: bool = False


def judge(measured: Measured, demands: Demands) -> list[str]:
    """Why the model is refused, a sentence a reason; empty if it passes.

    >>> judge(Measured(3.9, 2.0, Metric("accuracy", 0.99, 0.97, 0.02, (0.0, 0.04), 500)), Demands(max_drop=0.01))
    ['accuracy falls by 0.02 (0.99 → 0.97), more than 0.01']
    >>> judge(Measured(1.01, 0.9, None), Demands(max_drop=0.01))
    ['nothing is gained: 1.01× smaller, 0.90× as fast']
    """
    reasons = list(measured.objections)
    if not measured.is_finite:
        reasons.append("outputs that were finite are NaN or infinite after quantization")
    if measured.metric is not None:
        reasons += judge_metric(measured.metric, demands)
    if demands.min_speedup is not None:
        if measured.speedup is None:
            reasons.append(f"a speedup of {demands.min_speedup:g}× is demanded and could not be measured here")
        elif measured.speedup < demands.min_speedup:
            reasons.append(f"it is {measured.speedup:.2f}× as fast, less than {demands.min_speedup:g}×")
    if measured.size_ratio < MIN_SIZE_GAIN and (measured.speedup is None or measured.speedup < MIN_SPEED_GAIN):
        speed = "" if measured.speedup is None else f", {measured.speedup:.2f}× as fast"
        reasons.append(f"nothing is gained: {measured.size_ratio:.2f}× smaller{speed}")
    return reasons


def judge_metric(metric: Metric, demands: Demands) -> list[str]:
    """Why ``metric`` alone is a reason to refuse; empty if it is none."""
    bound = metric.interval[1] if demands.is_confident else metric.drop
    # Not `bound > max_drop`: a NaN must not pass.
    if bound <= demands.max_drop or _is_close(bound, demands.max_drop):
        return []
    if demands.is_confident and not isfinite(bound):
        return [f"the fall of {metric.name} cannot be bounded with {metric.rows} evaluation rows"]
    if demands.is_confident:
        return [f"{metric.name} may fall by up to {bound:.4g} (95 % bound), more than {demands.max_drop:g}"]
    before, after = f"{metric.before:.4g}", f"{metric.after:.4g}"
    return [f"{metric.name} falls by {metric.drop:.4g} ({before} → {after}), more than {demands.max_drop:g}"]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _is_close(bound: float, limit: float) -> bool:
    """0.98 - 0.97 is a little more than 0.01 in binary."""
    return abs(bound - limit) <= 1e-12
