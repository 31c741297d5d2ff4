"""``mlserve bench``: load for whatever a target names, judged, and kept as evidence and as a report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlserve.bench.measuring import Plan, measure
from mlserve.bench.runs import Point, Run
from mlserve.core.files import check_writable, replacing
from mlserve.core.progress import Progress, silent
from mlserve.errors import UsageError
from mlserve.wiring.connecting import App, connect
from mlserve.wiring.targeting import Asked, opened

KIND = "bench"


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What a bench found. ``digest`` is that of what answered, where it is known."""

    target: str
    protocol: str
    plan: Plan
    runs: Sequence[Run]
    machine: Mapping[str, Any]
    digest: str | None = None
    data_digest: str | None = None
    recorded: bool = False

    @property
    def passed(self) -> bool | None:
        """Whether every run met the SLO; None where there is none."""
        return None if self.plan.slo is None else all(run.is_slo_met for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "target": self.target,
            "protocol": self.protocol,
            "rows": plan.rows,
            "arrivals": plan.arrivals if any(run.point.rate for run in self.runs) else None,
            "slo": plan.slo.text if plan.slo else None,
            "passed": self.passed,
            "price_per_hour": plan.price_per_hour,
            "digest": self.digest,
            "data_digest": self.data_digest,
            "recorded": self.recorded,
            "machine": dict(self.machine),
            "runs": [run.to_dict() for run in self.runs],
        }


def bench_target(
    target: str,
    plan: Plan,
    asked: Asked,
    *,
    generators: int = 1,
    record: bool = False,
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> BenchReport:
    """Load ``target`` as ``plan`` says, and with ``record`` keep what was found as evidence of its digest.

    Raises UsageError, NotFound, Unavailable, and InvalidInput for rows that the model does not take.
    """
    flags = flags or {}
    with opened(target, asked, generators, flags, config_file) as found:
        if record and found.digest is None:
            raise UsageError(
                f"'{target}' is no version of a registry: there is nothing to keep evidence of", hint="without --record"
            )
        plan = replace(plan, rows=found.rows)
        report = BenchReport(
            target,
            found.protocol,
            plan,
            measure(found.driver, plan, progress),
            machine(),
            found.digest,
            found.data_digest,
        )
    if not record:
        return report
    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        return _recorded(app, report)


def check_report(file: Path) -> None:
    """Refuse a report that could not be written, before the work. Raises MissingExtra, InvalidInput."""
    from mlserve.report.page import check_available

    check_available()
    check_writable(file)


def write_report(report: BenchReport, file: Path) -> None:
    """Write ``report`` as one page. Raises MissingExtra without the extra ``report``, InvalidInput."""
    from mlserve.report.bench import render_bench

    page = render_bench(report.to_dict(), [(str(run.point), run.curve_ms()) for run in report.runs])
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def default_generators() -> int:
    """So many processes ask over HTTP: half the cores, for the server may need the others; four at most."""
    from mlserve.runtime.threads import usable_cores

    return max(1, min(4, usable_cores() // 2))


def machine() -> dict[str, Any]:
    """What figures of speed depend on."""
    from mlserve.runtime.processor import read_processor
    from mlserve.runtime.threads import usable_cores

    return {"cores": usable_cores(), "machine": read_processor().name, "python": platform.python_version()}


def _recorded(app: App, report: BenchReport) -> BenchReport:
    from mlserve.core.evidence import Evidence, tool_versions
    from mlserve.registry.evidencing import add_evidence

    assert report.digest is not None
    evidence = Evidence(
        KIND,
        report.digest,
        report.passed,
        _figures(report),
        app.clock(),
        app.user,
        data_digest=report.data_digest,
        tools=tool_versions("onnxruntime", "onnxruntime-gpu"),
    )
    add_evidence(app.store, evidence)
    return replace(report, recorded=True)


def _figures(report: BenchReport) -> dict[str, Any]:
    """What gates may ask for: ``c8.p99_ms`` of a closed loop of 8 clients, ``r500.goodput_rps`` at 500 a second."""
    named = {_name(run.point, report.runs): run for run in report.runs}
    figures: dict[str, Any] = {
        "protocol": report.protocol,
        "rows": report.plan.rows,
        "slo": report.plan.slo.text if report.plan.slo else None,
        **report.machine,
    }
    for name, run in named.items():
        kept = ("requests", "errors", "rps", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "goodput_rps", "cost_per_million")
        document = run.to_dict()
        figures[name] = {key: document[key] for key in kept}
    return figures


def _name(point: Point, runs: Sequence[Run]) -> str:
    """A load's name among the figures: no dots, for those reach into objects, and its clients where rates repeat."""
    if point.rate is None:
        return f"c{point.concurrency}"
    name = f"r{point.rate:g}".replace(".", "_")
    is_alone = sum(run.point.rate == point.rate for run in runs) == 1
    return name if is_alone else f"{name}c{point.concurrency}"
