"""Families → Prometheus' text format, which prometheus-client writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from mlserve.serving.metrics.families import Family, Point


def text_of(families: Sequence[Family]) -> bytes:
    """The exposition of ``families``, in text format 0.0.4.

    Source: Prometheus, exposition formats.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            if family.points:
                yield _metric(family)


def _metric(family: Family) -> Metric:
    names = [name for name, _ in family.points[0].labels]
    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.help, labels=names)
        for point in family.points:
            counter.add_metric(_values(point), point.value)
        return counter
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=names)
        for point in family.points:
            if point.histogram is not None:
                histogram.add_metric(_values(point), _buckets(point), point.histogram.total)
        return histogram
    if family.kind == "untyped":
        plain = UntypedMetricFamily(family.name, family.help, labels=names)
        for point in family.points:
            plain.add_metric(_values(point), point.value)
        return plain
    gauge = GaugeMetricFamily(family.name, family.help, labels=names)
    for point in family.points:
        gauge.add_metric(_values(point), point.value)
    return gauge


def _values(point: Point) -> list[str]:
    return [value for _, value in point.labels]


def _buckets(point: Point) -> list[tuple[str, float]]:
    """Each upper bound with how many values do not exceed it."""
    assert point.histogram is not None
    seen, buckets = 0, []
    for bound, count in zip(point.histogram.bounds, point.histogram.counts, strict=False):
        seen += count
        buckets.append((repr(bound), float(seen)))
    return [*buckets, ("+Inf", float(point.histogram.count))]
