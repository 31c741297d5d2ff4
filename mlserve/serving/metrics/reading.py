"""The text of ``/metrics`` → what each version has done, for whoever watches a server from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from mlserve.core.histograms import Histogram
from mlserve.errors import InvalidInput

_COUNTERS = {
    "mlserve_requests_answered_total": "answered",
    "mlserve_requests_failed_total": "failed",
    "mlserve_requests_rejected_total": "rejected",
    "mlserve_rows_total": "rows",
    "mlserve_runs_total": "runs",
    "mlserve_queue_rows": "queue_rows",
    "mlserve_model_ready": "ready",
}
_HISTOGRAMS = {
    "mlserve_request_duration_seconds": "request",
    "mlserve_queue_duration_seconds": "queue",
    "mlserve_compute_duration_seconds": "compute",
}
_SHADOW = {
    "mlserve_shadow_requests_total": "outcome",
    "mlserve_shadow_rows_total": "result",
}
"""Counters of versions in shadow, with the label that says of what."""

_SERVER = {
    "mlserve_connections": "connections",
    "process_cpu_seconds_total": "cpu_s",
    "process_resident_memory_bytes": "rss_bytes",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """One version: counters and gauges by short name, 0 where there are none, and histograms in seconds."""

    counts: Mapping[str, float]
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class Scrape:
    """A server at one moment, its versions by (model, version); ``shadows`` are counts of those in shadow now."""

    versions: Mapping[tuple[str, str], Figures]
    server: Mapping[str, float] = field(default_factory=dict)
    shadows: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)


def scrape_of(text: str) -> Scrape:
    """What ``text`` says, in Prometheus' format. Raises InvalidInput for what is not mlserve's."""
    counts: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    buckets: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    totals: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    server: dict[str, float] = defaultdict(float)
    shadows: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        raise InvalidInput("what was read is not in Prometheus' text format") from error
    if not any(sample.name == "mlserve_build_info" for sample in samples):
        raise InvalidInput("what was read are not the metrics of an mlserve")
    for sample in samples:
        key = sample.labels.get("model", ""), sample.labels.get("version", "")
        base, _, end = sample.name.rpartition("_")
        if sample.name in _COUNTERS:
            counts[key][_COUNTERS[sample.name]] += sample.value
        elif sample.name in _SHADOW:
            shadows[key][sample.labels[_SHADOW[sample.name]]] += sample.value
        elif sample.name == "mlserve_shadow_up":
            shadows[key]["up"] += sample.value
        elif sample.name in _SERVER:
            server[_SERVER[sample.name]] += sample.value
        elif base in _HISTOGRAMS and end == "bucket":
            buckets[key][_HISTOGRAMS[base]].append((float(sample.labels["le"]), sample.value))
        elif base in _HISTOGRAMS and end == "sum":
            totals[key][_HISTOGRAMS[base]] = sample.value
    versions = {
        key: Figures(
            dict(found), {name: _histogram(places, totals[key].get(name, 0.0)) for name, places in buckets[key].items()}
        )
        for key, found in sorted(counts.items())
    }
    return Scrape(versions, dict(server), {key: dict(found) for key, found in shadows.items() if "up" in found})


def _histogram(buckets: Sequence[tuple[float, float]], total: float) -> Histogram:
    """Buckets as they are told, each with all below it, as counts of each alone."""
    ordered = sorted(buckets)
    seen = [0.0, *(count for _, count in ordered)]
    counts = [int(now - before) for before, now in pairwise(seen)]
    return Histogram(tuple(bound for bound, _ in ordered[:-1]), counts, total)
