"""What ``quantize`` answers, and the evidence that it leaves beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlserve.core.evidence import Evidence
from mlserve.quantize.auto import Search
from mlserve.quantize.finding import CalibrationFound, DataFile
from mlserve.quantize.gate import Demands, Measured, Metric, judge
from mlserve.quantize.measuring import Latency
from mlserve.quantize.worst import RowErrors
from mlserve.runtime.processor import Processor


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What became of a model. ``output`` is None where it was refused and nothing was written.

    ``size_ratio`` and ``speedup`` are before ÷ after, so that more is better; both are 1 where nothing was made.
    ``passed`` is the gate's word, ``is_forced`` whether the file was written against it. ``layers`` counts those of
    each precision, ``plan`` names them. ``search`` is there where the method was searched for (``--to auto``);
    ``errors`` are how far each row moved, for a page, and not in the document.
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
    layers: Mapping[str, int] = field(default_factory=dict)
    calibration: CalibrationFound | None = None
    plan: Mapping[str, str] = field(default_factory=dict)
    search: Search | None = None
    errors: RowErrors | None = None

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
            "layers": dict(self.layers),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "plan": dict(self.plan),
            **({} if self.search is None else self.search.to_dict()),
        }


def evidence_of(
    report: QuantizeReport,
    judged_on: DataFile | None,
    processor: Processor,
    demands: Demands,
    by: str,
    now: datetime,
) -> list[Evidence]:
    """``quantization`` for what was made; ``calibration`` where data was calibrated on; ``accuracy`` for the metric.

    ``judged_on`` is the evaluation data, None where there was none; ``processor`` is what speed was measured on.
    """
    made = figures_of_making(report, processor)
    if report.search is not None:
        made |= report.search.to_dict()
    digest = report.digest or ""
    items = [Evidence("quantization", digest, report.passed, made, now, by, tools=report.tools)]
    if (found := report.calibration) is not None:
        figures = found.to_dict() | {"parent": report.parent}
        if found.coverage is not None:
            figures |= {key: value for key, value in found.coverage.to_dict().items() if key in ("clipped", "used")}
        passed = not found.objections
        items.append(Evidence("calibration", digest, passed, figures, now, by, found.data.digest, report.tools))
    if report.metric is not None:
        more: dict[str, Any] = {report.metric.name: report.metric.to_dict()["after"]}
        more |= {} if judged_on is None else {"size_bytes": judged_on.size_bytes}
        more |= {} if report.calibration is None else {"dropped_rows": report.calibration.dropped}
        items.append(
            accuracy_of(report, report.metric, demands, more, None if judged_on is None else judged_on.digest, by, now)
        )
    return items


def figures_of_making(report: QuantizeReport, processor: Processor) -> dict[str, Any]:
    """What every kind of model's evidence of ``quantization`` says; ``processor`` is what speed was measured on."""
    return {
        "method": report.method,
        "parent": report.parent,
        "size_ratio": report.size_ratio,
        "speedup": report.speedup,
        "forced": report.is_forced,
        "reasons": list(report.reasons),
        "latency": [latency.to_dict() for latency in report.latency],
        "layers": dict(report.layers),
        "cpu": processor.name,
        "cpu_flags": list(processor.flags),
    }


def accuracy_of(
    report: QuantizeReport,
    metric: Metric,
    demands: Demands,
    more: Mapping[str, Any],
    data_digest: str | None,
    by: str,
    now: datetime,
) -> Evidence:
    """``accuracy``: what was judged, what was allowed, and ``more`` figures; it passes by the metric alone."""
    figures = metric.to_dict() | {"parent": report.parent, "max_drop": demands.max_drop}
    figures |= {"drop_low": figures["interval"][0], "drop_high": figures["interval"][1], **more}
    passed = not judge(Measured(2.0, None, metric), replace(demands, min_speedup=None))
    return Evidence("accuracy", report.digest or "", passed, figures, now, by, data_digest, report.tools)
