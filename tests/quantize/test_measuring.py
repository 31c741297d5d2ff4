"""Latency in turns, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from mlserve.quantize.measuring import MAX_ROUNDS, MIN_ROUNDS, WARMUP_RUNS, Latency, measure_latency, overall_speedup


class Clock:
    """Time that passes only while a model runs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def model(self, name: str, takes_s: float) -> Any:
        def run(inputs: Any) -> None:
            self.order.append(name)
            self.now_s += takes_s

        return run


def measured(before_s: float, after_s: float, budget_s: float) -> tuple[Latency, list[str]]:
    clock = Clock()
    latency = measure_latency(
        clock.model("before", before_s), clock.model("after", after_s), {}, rows=8, clock=clock, budget_s=budget_s
    )
    return latency, clock.order[2 * WARMUP_RUNS :]


def test_the_median_of_each_is_given_in_milliseconds() -> None:
    latency, _ = measured(0.004, 0.002, 1.0)

    assert (latency.rows, round(latency.before_ms, 6), round(latency.after_ms, 6)) == (8, 4.0, 2.0)
    assert latency.speedup == pytest.approx(2.0)
    assert latency.to_dict()["speedup"] == pytest.approx(2.0)


def test_both_take_turns_in_going_first() -> None:
    _, order = measured(0.1, 0.1, 0.4)

    assert order[:4] == ["before", "after", "after", "before"]


def test_a_slow_model_is_measured_a_few_times() -> None:
    latency, _ = measured(10.0, 10.0, 1.0)

    assert latency.rounds == MIN_ROUNDS


def test_a_fast_model_is_measured_often_enough_and_no_more() -> None:
    latency, _ = measured(0.0, 0.0, 1.0)

    assert latency.rounds == MAX_ROUNDS


def test_the_overall_speedup_is_the_geometric_mean() -> None:
    assert overall_speedup([Latency(1, 2.0, 1.0, 5), Latency(32, 1.0, 2.0, 5)]) == pytest.approx(1.0)
    assert overall_speedup([]) is None
