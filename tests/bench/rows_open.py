"""Rows under open loop: the server that is told an SLO against the same one with a fixed window, on equal schedules.

The rates follow from what the first server does under closed loop: seven tenths of it, where queues begin to matter,
and a tenth, where a window only adds to the latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from mlserve.bench.arrivals import Arrivals, arrivals
from tests.bench import models
from tests.bench.pairs import Bench, Topic, fill_inverse, fill_numbers, p99
from tests.bench.rows_heavy import HEAVY_WARMUP_S, TEXT, long, served
from tests.bench.rows_tabular import ours
from tests.bench.servers import LOAD_CORE, Figures, Server, on_cores
from tests.bench.table import Demand, Line

CONNECTIONS = 256
WINDOW_MS = 2.0
HIGH, LOW = 0.7, 0.1
REFUSED = "status 429"
"""An SLO server may say at once that it will be late: that is no wrong answer, and no goodput either."""


def minilm(bench: Bench, lines: list[Line]) -> None:
    inputs = list(models.sentences(64, np.full(64, 32)))
    path = models.minilm()
    with ExitStack() as stack:
        slo = stack.enter_context(served(path, TEXT, inputs, slo="p99=250ms"))
        window = stack.enter_context(served(path, TEXT, inputs, max_delay_ms=f"{WINDOW_MS:g}"))
        _compare(bench, "MiniLM", lines, slo, window, limit_s=0.25)


def tabular(bench: Bench, lines: list[Line]) -> None:
    model = models.tabular()
    with ExitStack() as stack:
        stack.enter_context(on_cores(LOAD_CORE))
        slo = stack.enter_context(ours(model, slo="p99=20ms"))
        window = stack.enter_context(ours(model, max_delay_ms=f"{WINDOW_MS:g}"))
        _compare(bench, "tabular", lines, slo, window, limit_s=0.02)


def _compare(bench: Bench, what: str, lines: list[Line], slo: Server, window: Server, *, limit_s: float) -> None:
    capacity = slo.load(64, max(bench.seconds, 2.0), warmup_s=1.0).rps
    bench.raw.append({"what": f"{what}: capacity", "rps": capacity})
    kinds: tuple[Arrivals, ...] = ("poisson", "bursty")
    for kind, line in zip(kinds, lines, strict=False):
        pairs = _pairs(bench, f"{what}, {kind} at {HIGH:.0%}", kind, HIGH * capacity, slo, window)
        goodput = [(_goodput(one, limit_s), _goodput(other, limit_s)) for one, other in pairs]
        fill_numbers(line, goodput, sum(_wrong(one) + _wrong(other) for one, other in pairs))
        line.note = f"{HIGH * capacity:.0f}/s due"
    low = _pairs(bench, f"{what}, poisson at {LOW:.0%}", "poisson", LOW * capacity, slo, window)
    fill_inverse(lines[2], low, p99)


def _pairs(
    bench: Bench, what: str, kind: Arrivals, rate: float, slo: Server, window: Server
) -> list[tuple[Figures, Figures]]:
    turns = iter(range(2 * bench.rounds))

    def load(server: Server) -> Figures:
        """On a schedule that is new for each pair, and the same for both sides of it."""
        rng = np.random.default_rng(next(turns) // 2)
        due = arrivals(kind, rate, long(bench) + HEAVY_WARMUP_S, rng)
        return server.load(CONNECTIONS, long(bench), due=due, warmup_s=HEAVY_WARMUP_S)

    return bench.pairs(what, lambda: load(slo), lambda: load(window))


def _goodput(found: Figures, limit_s: float) -> float:
    return found.outcome.latencies.within(limit_s) / found.outcome.took_s


def _wrong(found: Figures) -> int:
    return sum(count for kind, count in found.outcome.failures.items() if kind != REFUSED)


def _lines(what: str, slo: str) -> list[Line]:
    against = "a fixed window of 2 ms"
    return [
        Line(f"{what}, open loop at 70 %, Poisson, {slo}: goodput", against, Demand(1.0), "/s"),
        Line(f"{what}, open loop at 70 %, bursty, {slo}: goodput", against, Demand(1.0), "/s"),
        Line(f"{what}, open loop at 10 %: p99, theirs / ours", against, Demand(1.0), "ms"),
    ]


TOPICS: Sequence[Topic] = (
    Topic("open-loop", _lines("MiniLM", "p99=250ms"), minilm),
    Topic("open-loop-tabular", _lines("tabular", "p99=20ms"), tabular),
)
