"""The answer of a replay: one document a candidate, numbers under names that thresholds and gates may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlserve.replay.findings import Findings
from mlserve.replay.found import Found
from mlserve.stats.latencies import Latencies

SHARES = (0.5, 0.9, 0.99)
CURVE_POINTS = 200
PARTS = ("decisions", "ranking", "distribution", "quality", "calibration", "noise", "worst", "explanation")
"""Null where they could not be measured."""


@dataclass(frozen=True, slots=True)
class About:
    """What was replayed, and how; ``measures`` is what its times are of."""

    ref: str
    baseline: str
    capture: str
    data_digest: str
    batches: str
    speed: str
    target: str
    measures: str
    versions: Mapping[int, str | None]
    is_redacted: bool
    ended_at: str


def document_of(about: About, found: Found, findings: Findings) -> dict[str, Any]:
    """The document of the candidate that ``findings`` are of, without a verdict. See docs/traffic.md."""
    coverage = found.coverage
    replayed = latency_of(findings.replayed)
    rows_per_s = (findings.rows / found.seconds) if found.seconds else None
    requests_per_s = (coverage.requests / found.seconds) if found.seconds else None
    return {
        "ref": about.ref,
        "baseline": about.baseline,
        "capture": about.capture,
        "data_digest": about.data_digest,
        "requests": findings.requests,
        "rows": findings.rows,
        **dict.fromkeys(PARTS),
        **findings.comparison.figures(),
        "latency": {
            "measures": about.measures,
            "recorded": latency_of(findings.recorded),
            "replayed": replayed,
            **{name: value for name, value in replayed.items() if name != "curve"},
        },
        "lag": _lag(found),
        "throughput": {"rows_per_s": rows_per_s, "requests_per_s": requests_per_s, "seconds": found.seconds},
        "batches": about.batches,
        "speed": about.speed,
        "target": about.target,
        "coverage": {
            "captured_requests": coverage.requests + sum(coverage.left_out.values()),
            "replayed": coverage.requests,
            "failed": findings.failed,
            "left_out": dict(sorted(coverage.left_out.items())),
            "estimated_requests": findings.weight,
            "runs": coverage.runs if about.batches == "recorded" else None,
            "whole_runs": coverage.whole_runs if about.batches == "recorded" else None,
            "versions": {str(version): digest for version, digest in sorted(about.versions.items())},
            "redacted": about.is_redacted,
        },
        "failures": list(findings.failures),
        "started_at": found.started_at,
        "ended_at": about.ended_at,
    }


def latency_of(times: Latencies) -> dict[str, Any]:
    """Percentiles, mean and distribution function in milliseconds; nothing of no requests."""
    if not times.count:
        return {"p50_ms": None, "p90_ms": None, "p99_ms": None, "mean_ms": None, "curve": []}
    curve = times.curve()
    step = max(1, len(curve) // CURVE_POINTS)
    kept = [*curve[::step], curve[-1]] if (len(curve) - 1) % step else curve[::step]
    named = {
        f"p{100 * share:.0f}_ms": 1e3 * seconds
        for share, seconds in zip(SHARES, times.percentiles_s(SHARES), strict=True)
    }
    return {**named, "mean_ms": 1e3 * times.mean_s(), "curve": [[1e3 * seconds, share] for seconds, share in kept]}


def _lag(found: Found) -> dict[str, Any] | None:
    lags = found.lag.lags
    if not lags.count:
        return None
    p50_s, p99_s = lags.percentiles_s((0.5, 0.99))
    return {
        "p50_ms": 1e3 * p50_s,
        "p99_ms": 1e3 * p99_s,
        "max_ms": 1e3 * found.lag.max_s,
        "late_requests": found.lag.late,
    }
