"""The same figures under the names that Triton gives them, so that dashboards made for it go on working.

Source: Triton Inference Server, docs/user_guide/metrics.md. Times are in microseconds there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mlserve.serving.metrics.families import Family, Point
from mlserve.serving.tallies import ModelStatistics, Tally

_COUNTERS: dict[str, tuple[str, Callable[[ModelStatistics], float]]] = {
    "nv_inference_request_success": ("Requests answered.", lambda one: one.success.count),
    "nv_inference_count": ("Rows that went through the model.", lambda one: one.inference_count),
    "nv_inference_exec_count": ("Runs of the model.", lambda one: one.execution_count),
    "nv_inference_request_duration_us": ("Whole time of answered requests.", lambda one: _us(one.success)),
    "nv_inference_queue_duration_us": ("Time that requests waited.", lambda one: _us(one.queue)),
    "nv_inference_compute_input_duration_us": ("Time of gathering inputs.", lambda one: _us(one.compute_input)),
    "nv_inference_compute_infer_duration_us": ("Time of the model itself.", lambda one: _us(one.compute_infer)),
    "nv_inference_compute_output_duration_us": ("Time of making answers.", lambda one: _us(one.compute_output)),
    "nv_cache_num_hits_per_model": ("Requests answered from the cache.", lambda one: one.cache_hit.count),
    "nv_cache_num_misses_per_model": ("Requests the cache did not have.", lambda one: one.cache_miss.count),
    "nv_cache_hit_duration_per_model": ("Time of finding answers in the cache.", lambda one: _us(one.cache_hit)),
    "nv_cache_miss_duration_per_model": ("Time of looking in vain.", lambda one: _us(one.cache_miss)),
}


def triton_families(statistics: Sequence[ModelStatistics], load_s: Mapping[tuple[str, str], float]) -> list[Family]:
    """``load_s`` is how long each (model, version) took to load, in seconds."""
    families = [
        Family(name, "untyped", text, [_point(one, value(one)) for one in statistics])
        for name, (text, value) in _COUNTERS.items()
    ]
    failures = [
        point
        for one in statistics
        for point in (
            _point(one, sum(one.rejected.values()), reason="REJECTED"),
            _point(one, one.fail.count, reason="OTHER"),
        )
    ]
    loads = [Point((("model", name), ("version", version)), seconds) for (name, version), seconds in load_s.items()]
    return [
        *families,
        Family("nv_inference_request_failure", "untyped", "Requests that got an error.", failures),
        Family(
            "nv_inference_pending_request_count",
            "gauge",
            "Rows that wait (Triton: requests).",
            [_point(one, one.waiting_rows) for one in statistics],
        ),
        Family("nv_model_load_duration_secs", "info", "How long the last load took.", loads),
    ]


def _point(one: ModelStatistics, value: float, **more: str) -> Point:
    return Point((("model", one.name), ("version", one.version), *more.items()), float(value))


def _us(tally: Tally) -> float:
    return tally.ns / 1e3
