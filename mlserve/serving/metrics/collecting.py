"""What this process has counted, gathered when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector

from mlserve import __version__
from mlserve.core.histograms import Histogram
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.families import Family, Kind, Labels, Point
from mlserve.serving.metrics.host import Host
from mlserve.serving.metrics.triton import triton_families
from mlserve.serving.seam import Engine, ModelState, ModelView
from mlserve.serving.tallies import ModelStatistics

_EVENTS = {
    "loaded": ("mlserve_model_loads", "Versions loaded and warm."),
    "failed": ("mlserve_model_load_failures", "Versions that could not be loaded; the one before them goes on."),
    "abandoned": ("mlserve_model_loads_abandoned", "Loads given up because the version was no longer wanted."),
    "swapped": ("mlserve_model_swaps", "Times that another version began to answer for a model."),
}

_HISTOGRAMS = {
    "request": ("mlserve_request_duration_seconds", "From a request's admission to its answer being handed over."),
    "queue": ("mlserve_queue_duration_seconds", "From a request's admission to the start of its run."),
    "compute": ("mlserve_compute_duration_seconds", "The model's own time, of one run."),
    "encode": ("mlserve_encode_duration_seconds", "Making the answers of one run and handing them over."),
    "rows": ("mlserve_batch_rows", "Rows of one run."),
    "requests": ("mlserve_batch_requests", "Requests of one run."),
}


@dataclass(slots=True)
class Sources:
    """Where the figures of one process come from; ``connections`` and ``refused`` by front end."""

    engine: Engine
    events: EventCounts
    connections: Mapping[str, Callable[[], int]]
    refused: Mapping[str, Callable[[], Mapping[int, int]]]
    dropped: Mapping[str, Callable[[], int]]
    failures: Mapping[str, Callable[[], Mapping[tuple[str, str], int]]] = field(default_factory=dict)
    host: Host = field(default_factory=Host)
    shadows: Callable[[], Sequence[Family]] = tuple

    def families(self) -> list[Family]:
        """Everything that this process has counted. On the loop's thread."""
        statistics = self.engine.statistics()
        return [
            *_models(statistics),
            *self._states(),
            *self._events(),
            *self._fronts(),
            *self.shadows(),
            *triton_families(statistics, self.events.load_s),
            *_process(),
            *self.host.families(),
            Family("mlserve_build_info", "info", "The version of mlserve.", [Point((("version", __version__),), 1.0)]),
        ]

    def _states(self) -> list[Family]:
        points = [
            Point((("model", status.name), ("version", status.version)), float(status.state is ModelState.READY))
            for status in self.engine.models()
            if status.version is not None
        ]
        stages = [
            Point((("model", view.name), ("version", view.version), ("stage", stage)), 1.0)
            for view in self._views()
            for stage in view.stages
        ]
        return [
            Family("mlserve_model_ready", "gauge", "Processes in which a version answers.", points),
            Family("mlserve_model_stage", "gauge", "Processes in which a version answers for a stage.", stages),
        ]

    def _views(self) -> list[ModelView]:
        ready = [one for one in self.engine.models() if one.state is ModelState.READY and one.version is not None]
        return [self.engine.view(one.name, int(one.version or 0)) for one in ready]

    def _events(self) -> list[Family]:
        counts = self.events.by_model
        families = [
            Family(
                name,
                "counter",
                text,
                [
                    Point((("model", model),), float(count))
                    for (kind, model), count in sorted(counts.items())
                    if kind == event
                ],
            )
            for event, (name, text) in _EVENTS.items()
        ]
        losses, is_there = float(self.events.registry_losses), float(self.events.has_registry)
        return [
            *families,
            Family("mlserve_registry_losses", "counter", "Times the registry went out of reach.", [Point((), losses)]),
            Family("mlserve_registry_reachable", "gauge", "Processes that reach the registry.", [Point((), is_there)]),
        ]

    def _fronts(self) -> list[Family]:
        connections = [Point((("protocol", name),), float(count())) for name, count in self.connections.items()]
        refused = [
            Point((("protocol", name), ("status", str(status))), float(count))
            for name, counts in self.refused.items()
            for status, count in sorted(counts().items())
        ]
        failures = [
            Point((("protocol", name), ("model", model), ("reason", reason)), float(count))
            for name, counts in self.failures.items()
            for (model, reason), count in sorted(counts().items())
        ]
        dropped = [Point((("what", name),), float(count())) for name, count in self.dropped.items()]
        return [
            Family("mlserve_connections", "gauge", "Clients connected.", connections),
            Family("mlserve_refused_requests", "counter", "Replies that were errors, by status.", refused),
            Family("mlserve_request_failures", "counter", "Requests that got an error, by reason.", failures),
            Family("mlserve_dropped", "counter", "What was dropped so that no answer had to wait.", dropped),
        ]


def _models(statistics: Sequence[ModelStatistics]) -> list[Family]:
    def family(name: str, kind: Kind, text: str, value: Callable[[ModelStatistics], float]) -> Family:
        return Family(name, kind, text, [Point(_labels(one), float(value(one))) for one in statistics])

    return [
        family("mlserve_requests_answered", "counter", "Requests answered.", lambda one: one.success.count),
        family(
            "mlserve_requests_failed", "counter", "Admitted requests that got an error.", lambda one: one.fail.count
        ),
        Family(
            "mlserve_requests_rejected",
            "counter",
            "Requests that were not admitted, by reason.",
            [
                Point((*_labels(one), ("reason", reason)), float(count))
                for one in statistics
                for reason, count in sorted(one.rejected.items())
            ],
        ),
        family("mlserve_rows", "counter", "Rows that went through the model.", lambda one: one.inference_count),
        family("mlserve_runs", "counter", "Runs of the model.", lambda one: one.execution_count),
        family("mlserve_queue_rows", "gauge", "Rows that wait now.", lambda one: one.waiting_rows),
        family("mlserve_cache_hits", "counter", "Requests answered from the cache.", lambda one: one.cache_hit.count),
        family("mlserve_cache_misses", "counter", "Requests the cache did not have.", lambda one: one.cache_miss.count),
        *(
            Family(name, "histogram", text, [_histogram(one, one.histograms[key]) for one in statistics])
            for key, (name, text) in _HISTOGRAMS.items()
        ),
    ]


def _histogram(one: ModelStatistics, histogram: Histogram) -> Point:
    return Point(_labels(one), histogram=histogram)


def _labels(one: ModelStatistics) -> Labels:
    return (("model", one.name), ("version", one.version))


def _process() -> list[Family]:
    """CPU, memory and open files of this process, under the names that every exporter gives them."""
    families = []
    for metric in ProcessCollector(registry=CollectorRegistry()).collect():
        if metric.name == "process_start_time_seconds":
            continue  # says nothing once several processes are summed
        kind: Kind = "counter" if metric.type == "counter" else "gauge"
        families.append(Family(metric.name, kind, metric.documentation, [Point((), metric.samples[0].value)]))
    return families
