"""One attempt: a graph made by some method, saved, and measured as saved against the original."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlserve.core.digests import Manifest, canonical_json
from mlserve.core.progress import Progress
from mlserve.errors import InvalidInput, Unsupported
from mlserve.graph.document import check_graph, save_graph
from mlserve.graph.normalising import normalise
from mlserve.graph.packaging import read_manifest
from mlserve.graph.properties import set_properties
from mlserve.quantize.calibration import Calibration
from mlserve.quantize.coverage import measure_coverage
from mlserve.quantize.finding import CalibrationFound, calibration_found
from mlserve.quantize.gate import Demands, Measured, judge, judge_metric
from mlserve.quantize.holding_out import HeldOut
from mlserve.quantize.pareto import Standing
from mlserve.quantize.plan import plan_of, summary
from mlserve.quantize.quantizer import Quantized
from mlserve.quantize.targets import Target
from mlserve.quantize.trial import Found, Memory, try_both


@dataclass(frozen=True, slots=True)
class Job:
    """What all attempts at one model share. ``evaluation`` is what they are judged on, ``sample`` calibrated on.

    ``name`` is what the files that are made will be called.
    """

    model: Path
    name: str
    parent: Manifest
    target: Target
    evaluation: HeldOut | None
    sample: Calibration | None
    metric: str
    demands: Demands
    tools: Mapping[str, str]
    progress: Progress
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was made at ``path``, what was found, and why it is refused, if it is."""

    method: str
    path: Path
    manifest: Manifest
    size_ratio: float
    found: Found
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    plan: Mapping[str, str]
    calibration: CalibrationFound | None
    metric_reasons: tuple[str, ...] = ()

    @property
    def misses_only_metric(self) -> bool:
        """Whether the metric, and nothing else, is why it is refused."""
        return bool(self.reasons) and self.reasons == self.metric_reasons

    @property
    def standing(self) -> Standing:
        drop = None if self.found.metric is None else self.found.metric.drop
        return Standing(self.method, self.size_ratio, self.found.speedup, drop, not self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """As one of the ``candidates`` of a report."""
        return {
            "method": self.method,
            "size_ratio": self.size_ratio,
            "speedup": self.found.speedup,
            "size_bytes": self.manifest.size_bytes,
            "metric": None if self.found.metric is None else self.found.metric.to_dict(),
            "latency": [latency.to_dict() for latency in self.found.latency],
            "layers": summary(self.plan),
            "passed": not self.reasons,
            "reasons": list(self.reasons),
        }


def attempt(
    job: Job, method: str, make: Callable[[Path], Quantized], path: Path, objections: tuple[str, ...] = ()
) -> Attempt:
    """Make a graph by ``make``, which gets a folder of its own, save it at ``path``, and measure that file.

    ``objections`` are reasons against it that were known before. Raises Unsupported for a graph that is not valid.
    """
    job.progress(f"quantize to {method}", 0, None)
    with tempfile.TemporaryDirectory(dir=path.parent) as workshop:
        made = make(Path(workshop))
        coverage = None
        if made.calibrated is not None and job.evaluation is not None:
            coverage = measure_coverage(made.calibrated, job.evaluation)
    normalise(made.model)
    calibrated = None
    if made.calibrated is not None and job.sample is not None:
        calibrated = calibration_found(job.sample, job.evaluation, coverage)
    plan = plan_of(made.model)
    set_properties(made.model, _provenance(job, method, made, plan))
    check_made(made)
    save_graph(made.model, path)
    manifest = read_manifest(path)
    found = try_both(job.model, path, job.target, job.evaluation, job.metric, job.progress, job.memory)
    size_ratio = job.parent.size_bytes / manifest.size_bytes
    doubts = (*objections, *(calibrated.objections if calibrated else ()))
    speedup = found.speedup if found.is_on_target else None
    reasons = judge(Measured(size_ratio, speedup, found.metric, found.is_finite, doubts), job.demands)
    about_metric = () if found.metric is None else tuple(judge_metric(found.metric, job.demands))
    notes = (*made.notes, *(calibrated.notes if calibrated else ()), *found.notes)
    return Attempt(method, path, manifest, size_ratio, found, tuple(reasons), notes, plan, calibrated, about_metric)


def check_made(made: Quantized) -> None:
    """Raises Unsupported for a graph that is not valid ONNX."""
    try:
        check_graph(made.model)
    except InvalidInput as error:
        raise Unsupported(f"the method does not suit this model: the quantized graph is {error.message}") from error


def _provenance(job: Job, method: str, made: Quantized, plan: Mapping[str, str]) -> dict[str, str]:
    """Only what follows from the input: what was measured would change the digest, and is evidence."""
    return {
        "mlserve.quantize.parent": job.parent.digest,
        "mlserve.quantize.method": method,
        "mlserve.quantize.options": canonical_json(dict(made.options)).decode(),
        "mlserve.quantize.plan": canonical_json(dict(plan)).decode(),
        "mlserve.quantize.tools": canonical_json(dict(job.tools)).decode(),
    }
