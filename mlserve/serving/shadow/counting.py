"""What shadows have counted, as metrics."""

from __future__ import annotations

from collections.abc import Mapping

from mlserve.serving.metrics.families import Family, Labels, Point
from mlserve.serving.shadow.keeping import Keeper
from mlserve.serving.shadow.messages import Told

Key = tuple[str, int]
"""A model and the version of it in shadow."""


def families_of(told: Mapping[Key, Told], keepers: Mapping[Key, Keeper]) -> list[Family]:
    """``told`` is all that each shadow ever counted, ``keepers`` those that there are now."""
    requests, rows, durations = [], [], []
    for key, counts in told.items():
        by_outcome = {"compared": counts.compared, "failed": counts.failed, "dropped": counts.dropped}
        by_result = {
            "identical": counts.identical,
            "within_tolerance": counts.within_tolerance - counts.identical,
            "differing": counts.differing,
        }
        requests += [Point((*_labels(key), ("outcome", name)), float(value)) for name, value in by_outcome.items()]
        rows += [Point((*_labels(key), ("result", name)), float(value)) for name, value in by_result.items()]
        durations.append(Point(_labels(key), histogram=counts.shadow))
    waiting = [Point(_labels(key), float(told[key].in_ring)) for key in keepers]
    up = [Point(_labels(key), float(keeper.state == "comparing")) for key, keeper in keepers.items()]
    starts = [Point(_labels(key), float(keeper.starts)) for key, keeper in keepers.items()]
    return [
        Family("mlserve_shadow_requests", "counter", "Mirrored requests, by what became of them.", requests),
        Family("mlserve_shadow_rows", "counter", "Rows compared with production's, by how they compare.", rows),
        Family("mlserve_shadow_duration_seconds", "histogram", "One run of a version in shadow.", durations),
        Family("mlserve_shadow_waiting_requests", "gauge", "Mirrored requests that wait.", waiting),
        Family("mlserve_shadow_up", "gauge", "Processes in which a version in shadow is compared.", up),
        Family("mlserve_shadow_starts", "counter", "Processes started for a version in shadow.", starts),
    ]


def _labels(key: Key) -> Labels:
    return (("model", key[0]), ("version", str(key[1])))
