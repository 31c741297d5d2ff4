"""Metrics as values: what one process has counted, as it travels between workers and is summed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from mlserve.core.histograms import Histogram

Kind = Literal["counter", "gauge", "info", "histogram", "untyped"]
"""An "untyped" value grows like a counter, and its name stays as it is: a counter's gets ``_total``."""

Labels = tuple[tuple[str, str], ...]


class Point(msgspec.Struct, gc=False):
    """One value of a family; ``histogram`` in its place where the family is one."""

    labels: Labels
    value: float = 0.0
    histogram: Histogram | None = None


class Family(msgspec.Struct):
    """One metric: its name, what it means, and its values by labels. An "info" says the same in every process."""

    name: str
    kind: Kind
    help: str
    points: list[Point]


def merged(processes: Iterable[Sequence[Family]]) -> list[Family]:
    """The families of several processes as one: values with equal labels are summed, an "info" stands once."""
    found: dict[str, Family] = {}
    points: dict[tuple[str, Labels], Point] = {}
    for families in processes:
        for family in families:
            whole = found.setdefault(family.name, Family(family.name, family.kind, family.help, []))
            for point in family.points:
                known = points.get((family.name, point.labels))
                if known is None:
                    points[family.name, point.labels] = known = Point(point.labels, point.value, point.histogram)
                    whole.points.append(known)
                elif point.histogram is not None and known.histogram is not None:
                    known.histogram = known.histogram.merged(point.histogram)
                elif family.kind != "info":
                    known.value += point.value
    return list(found.values())
