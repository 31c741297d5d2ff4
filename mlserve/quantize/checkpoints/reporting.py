"""What quantizing a checkpoint answers, and the evidence that it leaves beside the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from mlserve.core.evidence import Evidence
from mlserve.quantize.checkpoints.scores import Speed
from mlserve.quantize.gate import Demands, Metric
from mlserve.quantize.reporting import QuantizeReport, accuracy_of, figures_of_making
from mlserve.runtime.processor import Processor


@dataclass(frozen=True, slots=True)
class CheckpointReport(QuantizeReport):
    """``metrics`` are all that were measured, ``metric`` the one that was judged; memory is of the weights loaded."""

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    speeds: tuple[Speed, ...] = ()
    memory_bytes: tuple[int, int] = (0, 0)

    def lines(self) -> list[str]:
        """Memory, speed and every metric, each before and after."""
        before, after = self.memory_bytes
        memory = [f"  memory {before / 1e6:.3g} MB → {after / 1e6:.3g} MB"] if before else []
        speeds = [f"  tokens/s of {one.rows}: {one.before:.3g} → {one.after:.3g}" for one in self.speeds]
        metrics = [
            f"  {name} {one.before:.4g} → {one.after:.4g}: drop {one.drop:.2g}, "
            f"95 % interval {one.interval[0]:.2g} to {one.interval[1]:.2g}"
            for name, one in self.metrics.items()
        ]
        return [*memory, *speeds, *metrics]

    def to_dict(self) -> dict[str, Any]:
        # Not super(): with slots a dataclass is made anew, and super() finds the class that it was before.
        return QuantizeReport.to_dict(self) | self.figures()

    def figures(self) -> dict[str, Any]:
        """What is measured of checkpoints only."""
        return {
            "metrics": {name: metric.to_dict() for name, metric in self.metrics.items()},
            "memory_bytes": {"before": self.memory_bytes[0], "after": self.memory_bytes[1]},
            "tokens_per_s": [asdict(speed) for speed in self.speeds],
        }


def evidence_of(
    report: CheckpointReport, data_digest: str | None, processor: Processor, demands: Demands, by: str, now: datetime
) -> list[Evidence]:
    """``quantization`` for what was made; ``accuracy`` for the metrics, where they were measured."""
    figures = report.figures()
    made = figures_of_making(report, processor)
    made |= {name: figures[name] for name in ("memory_bytes", "tokens_per_s")}
    items = [Evidence("quantization", report.digest or "", report.passed, made, now, by, tools=report.tools)]
    if report.metric is not None:
        more = {name: one["after"] for name, one in figures["metrics"].items()} | {"metrics": figures["metrics"]}
        items.append(accuracy_of(report, report.metric, demands, more, data_digest, by, now))
    return items
