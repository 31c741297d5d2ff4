"""The page of a bench: its figures as a table, its latencies as distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlserve.report.charts import Bar, Curve, bars, distribution
from mlserve.report.figures import number
from mlserve.report.page import render_page

TEMPLATE = "bench.html.j2"


def render_bench(bench: Mapping[str, Any], curves: Sequence[tuple[str, Curve]]) -> str:
    """The page for ``bench``, the document of ``mlserve bench --json``, with the name and latencies (ms) of each run.

    Raises MissingExtra where jinja2 is not installed.
    """
    runs = bench["runs"]
    names = [name for name, _ in curves]
    throughput = [Bar(name, run["rps"], number(run["rps"])) for name, run in zip(names, runs, strict=True)]
    values = {
        "bench": bench,
        "title": bench["target"],
        "names": names,
        "latency": distribution(curves, "latency: the share of requests within a time"),
        "throughput": bars(throughput, "right answers a second"),
        "failures": [
            (name, kind, count)
            for name, run in zip(names, runs, strict=True)
            for kind, count in run["failures"].items()
        ],
    }
    return render_page(TEMPLATE, values)
