"""What ``quantize`` answers, and the evidence that it leaves beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlserve.core.evidence import Evidence
from mlserve.quantize.gate import Demands, Measured, Metric, judge
from mlserve.quantize.measuring import Latency


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What became of a model. ``output`` is None where it was refused and nothing was written.

    ``size_ratio`` and ``speedup`` are before ÷ after, so that more is better; both are 1 where nothing was made.
    ``passed`` is the gate's word, ``is_forced`` whether the file was written against it.
    """

    output: Path | None
    method: str
    size_ratio: float
    speedup: float
    metric: Metric | None
    passed: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_forced: bool = False
    parent: str = ""
    digest: str | None = None
    size_bytes: int | None = None
    latency: tuple[Latency, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What a person reads below the one sentence, where there is more to say."""
        return []

    def to_dict(self) -> dict[str, Any]:
        return {
            "output": None if self.output is None else str(self.output),
            "method": self.method,
            "size_ratio": self.size_ratio,
            "speedup": self.speedup,
            "metric": None if self.metric is None else self.metric.to_dict(),
            "passed": self.passed,
            "forced": self.is_forced,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "parent": self.parent,
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "latency": [latency.to_dict() for latency in self.latency],
            "tools": dict(self.tools),
        }


def evidence_of(
    report: QuantizeReport, digest: str, data_digest: str | None, demands: Demands, by: str, now: datetime
) -> list[Evidence]:
    """``quantization`` for what was made; ``accuracy`` for the metric, where one was measured."""
    made = {
        "method": report.method,
        "parent": report.parent,
        "size_ratio": report.size_ratio,
        "speedup": report.speedup,
        "forced": report.is_forced,
        "reasons": list(report.reasons),
        "latency": [latency.to_dict() for latency in report.latency],
    }
    items = [Evidence("quantization", digest, report.passed, made, now, by, tools=report.tools)]
    if report.metric is not None:
        metric = report.metric.to_dict() | {"parent": report.parent, "max_drop": demands.max_drop}
        metric |= {"drop_low": metric["interval"][0], "drop_high": metric["interval"][1]}
        metric |= {report.metric.name: metric["after"]}
        passed = not judge(Measured(2.0, None, report.metric), replace(demands, min_speedup=None))
        items.append(Evidence("accuracy", digest, passed, metric, now, by, data_digest, report.tools))
    return items
