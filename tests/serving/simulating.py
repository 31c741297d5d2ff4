"""Lanes and arrivals in virtual time, fed by the same policy objects as the engine feeds: queue, shares, pacing."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from mlserve.core.slo import Slo
from mlserve.runtime.costs import Costs
from mlserve.serving.admission import Pacing
from mlserve.serving.batching import RowQueue, Waiting, equal_share, rank_of
from mlserve.serving.holding import Curve, hold_until
from mlserve.serving.seam import InferRequest

NOBODY = InferRequest("m", None, [])


@dataclass
class Outcome:
    """What became of the requests of one row: latencies of the answered, the size of every batch, the longest queue."""

    offered: int
    latencies_s: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    refused: int = 0
    longest_queue: int = 0
    end_s: float = 0.0

    def within(self, limit_s: float) -> int:
        """The goodput: how many were answered in time."""
        return sum(latency <= limit_s for latency in self.latencies_s)

    def percentile_s(self, percentile: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(percentile / 100.0 * len(ordered)))]


@dataclass(frozen=True)
class Machine:
    """Lanes on which a run of b rows takes alpha + beta·b, give or take ``jitter`` (a lognormal's sigma)."""

    alpha_s: float
    beta_s: float
    lanes: int = 2
    useful_rows: int = 64
    jitter: float = 0.1
    believed: float = 1.0
    """How far the costs measured at load are off: what they say is this many times the truth."""

    @property
    def capacity(self) -> float:
        """Rows a second, all lanes busy with full batches."""
        return self.lanes * self.useful_rows / (self.alpha_s + self.beta_s * self.useful_rows)

    def pacing(self, slo: Slo) -> Pacing:
        costs = Costs(self.alpha_s * self.believed, self.beta_s * self.believed, has_control_flow=False)
        return Pacing(slo, Curve(costs, slo.percentile), useful_rows=self.useful_rows)


def simulate(
    machine: Machine, arrivals_s: Sequence[float], seed: int, *, slo: Slo | None = None, window_s: float = 0.0
) -> Outcome:
    """Requests of one row at ``arrivals_s``: with an objective, or work-conserving, or with a fixed window."""
    pacing = machine.pacing(slo) if slo is not None else None
    rng = random.Random(seed)
    outcome, queue = Outcome(len(arrivals_s)), RowQueue()
    free_at_s, expected_s = [0.0] * machine.lanes, [0.0] * machine.lanes
    events: list[tuple[float, int, int]] = [(at_s, number, -1) for number, at_s in enumerate(arrivals_s)]
    heapq.heapify(events)
    number = len(arrivals_s)
    now_s = 0.0
    while events:
        now_s, _, lane = heapq.heappop(events)
        if lane == -1:
            _arrive(queue, pacing, outcome, expected_s, free_at_s, now_s)
        if events and events[0][0] == now_s:
            continue  # the same tick
        while queue:
            idle = [index for index, at_s in enumerate(free_at_s) if at_s <= now_s]
            oldest = queue.oldest()
            if not idle or oldest is None:
                break
            until_s = hold_until(oldest.arrived_s, queue.rows, machine.useful_rows, window_s)
            if pacing is not None:
                due_s = oldest.arrived_s + pacing.slo.limit_s
                until_s = pacing.hold_until(now_s, oldest.arrived_s, queue.rows, due_s, machine.lanes)
            if until_s > now_s:
                heapq.heappush(events, (until_s, number := number + 1, -2))
                break
            most = machine.useful_rows if pacing is None else pacing.max_rows
            batch = queue.take(equal_share(queue.rows, len(idle), most), now_s)
            run_s = (machine.alpha_s + machine.beta_s * len(batch)) * rng.lognormvariate(0.0, machine.jitter)
            end_s = free_at_s[idle[0]] = now_s + run_s
            if pacing is not None:
                expected_s[idle[0]] = now_s + pacing.curve.mean_s(len(batch))
                late = sum(end_s - waiting.arrived_s > pacing.slo.limit_s for waiting in batch)
                pacing.note_run(len(batch), run_s, len(batch), late)
            outcome.batches.append(len(batch))
            outcome.latencies_s += [end_s - waiting.arrived_s for waiting in batch]
            outcome.end_s = max(outcome.end_s, end_s)
            heapq.heappush(events, (end_s, number := number + 1, idle[0]))
    return outcome


def _arrive(
    queue: RowQueue,
    pacing: Pacing | None,
    outcome: Outcome,
    expected_s: list[float],
    free_at_s: list[float],
    now_s: float,
) -> None:
    """A lane that runs longer than expected may end at any moment, as far as the policy knows."""
    if pacing is not None:
        pacing.note_arrival(1, now_s)
        ends_s = zip(expected_s, free_at_s, strict=True)
        believed_s = [expected if free > now_s else now_s for expected, free in ends_s]
        if pacing.late_s(1, queue.rows, now_s + pacing.slo.limit_s, believed_s, now_s) > 0.0:
            outcome.refused += 1
            return
    queue.add(Waiting(NOBODY, None, 1, (), now_s, rank_of(now_s, 0), inf))
    outcome.longest_queue = max(outcome.longest_queue, queue.rows)


def poisson(rate: float, count: int, seed: int) -> list[float]:
    """``count`` arrivals of a Poisson process."""
    rng = random.Random(seed)
    at_s, arrivals = 0.0, []
    for _ in range(count):
        at_s += rng.expovariate(rate)
        arrivals.append(at_s)
    return arrivals


def bursty(rate: float, count: int, seed: int, *, on_s: float = 0.05, off_s: float = 0.05) -> list[float]:
    """Poisson at twice the rate for 50 ms on average, then nothing for as long: ``rate`` in the mean."""
    rng = random.Random(seed)
    at_s, arrivals = 0.0, []
    while len(arrivals) < count:
        end_s = at_s + rng.expovariate(1.0 / on_s)
        while (at_s := at_s + rng.expovariate(rate * (on_s + off_s) / on_s)) < end_s:
            arrivals.append(at_s)
        at_s = end_s + rng.expovariate(1.0 / off_s)
    return arrivals[:count]


def ramp(rate: float, count: int, seed: int) -> list[float]:
    """From nothing to twice the rate."""
    rng = random.Random(seed)
    span_s = count / rate
    return sorted(span_s * rng.random() ** 0.5 for _ in range(count))
