"""Two looks at a server → what it did in between: rates, and percentiles of just that time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlserve.core.histograms import Histogram
from mlserve.serving.metrics.reading import Figures, Scrape


@dataclass(frozen=True, slots=True)
class Rate:
    """One version over one interval. Percentiles and means are None where nothing ran; times in milliseconds."""

    model: str
    version: str
    ready: bool
    requests_per_s: float
    rows_per_s: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    queue_p99_ms: float | None
    compute_p50_ms: float | None
    batch_rows: float | None
    queue_rows: int
    rejected_per_s: float
    failed_per_s: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ShadowRate:
    """One version in shadow over one interval. ``differing_share`` is of all rows compared so far that are within no
    tolerance, None before the first; ``up`` whether it is compared now."""

    model: str
    version: str
    up: bool
    compared_per_s: float
    dropped_per_s: float
    failed_per_s: float
    differing_share: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def shadow_rates(before: Scrape, after: Scrape, seconds: float) -> list[ShadowRate]:
    """Every version that is in shadow now, over the ``seconds`` since ``before``."""
    found = []
    for (model, version), counts in after.shadows.items():
        then = before.shadows.get((model, version), {})
        rows = sum(counts.get(name, 0.0) for name in ("identical", "within_tolerance", "differing"))
        compared, dropped, failed = (_grown(then, counts, name) / seconds for name in ("compared", "dropped", "failed"))
        differing = counts.get("differing", 0.0) / rows if rows else None
        found.append(ShadowRate(model, version, counts["up"] > 0, compared, dropped, failed, differing))
    return found


def rates(before: Scrape, after: Scrape, seconds: float) -> list[Rate]:
    """Every version that ``after`` knows, over the ``seconds`` since ``before``; by model and version.

    A counter that has gone back is a server that began anew: then all it has counts.
    """
    nothing = Figures({}, {})
    return [
        _rate(model, version, before.versions.get((model, version), nothing), figures, seconds)
        for (model, version), figures in after.versions.items()
        if model
    ]


def busy_cores(before: Scrape, after: Scrape, seconds: float) -> float:
    """Cores that the server kept busy."""
    return _grown(before.server, after.server, "cpu_s") / seconds


def _rate(model: str, version: str, before: Figures, after: Figures, seconds: float) -> Rate:
    def grown(name: str) -> float:
        return _grown(before.counts, after.counts, name)

    times = {name: _since(before, after, name) for name in ("request", "queue", "compute")}
    runs = grown("runs")
    return Rate(
        model=model,
        version=version,
        ready=after.counts.get("ready", 0.0) > 0,
        requests_per_s=grown("answered") / seconds,
        rows_per_s=grown("rows") / seconds,
        p50_ms=_ms(times["request"], 0.5),
        p90_ms=_ms(times["request"], 0.9),
        p99_ms=_ms(times["request"], 0.99),
        queue_p99_ms=_ms(times["queue"], 0.99),
        compute_p50_ms=_ms(times["compute"], 0.5),
        batch_rows=grown("rows") / runs if runs else None,
        queue_rows=int(after.counts.get("queue_rows", 0.0)),
        rejected_per_s=grown("rejected") / seconds,
        failed_per_s=grown("failed") / seconds,
    )


def _grown(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    now, then = after.get(name, 0.0), before.get(name, 0.0)
    return now if now < then else now - then


def _since(before: Figures, after: Figures, name: str) -> Histogram | None:
    now, then = after.histograms.get(name), before.histograms.get(name)
    if now is None or then is None or now.bounds != then.bounds:
        return now
    return now.since(then)


def _ms(histogram: Histogram | None, share: float) -> float | None:
    seconds = None if histogram is None else histogram.quantile(share)
    return None if seconds is None else 1e3 * seconds
