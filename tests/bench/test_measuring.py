"""A plan is done point by point in turns, and its figures are told apart from the generator's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from mlserve.bench.measuring import Plan, measure
from mlserve.bench.outcomes import Outcome
from mlserve.bench.runs import Point
from mlserve.bench.stretches import Stretch
from mlserve.core.slo import parse_slo


class Steady:
    """Answers ``rps`` requests a second in a millisecond each; the generator alone could do ``ceiling_rps``."""

    def __init__(self, rps: float, ceiling_rps: float = 1e6, failures: int = 0) -> None:
        self.rps = rps
        self.ceiling_rps = ceiling_rps
        self.failures = failures
        self.asked: list[Stretch] = []

    def run(self, stretch: Stretch, on_turn: Callable[[], None]) -> Outcome:
        self.asked.append(stretch)
        on_turn()
        return self._outcome(self.rps, stretch)

    def ceiling(self, stretch: Stretch) -> Outcome:
        return self._outcome(self.ceiling_rps, stretch, 0)

    def _outcome(self, rps: float, stretch: Stretch, failures: int | None = None) -> Outcome:
        outcome = Outcome(stretch.duration_s)
        for _ in range(round(rps * stretch.duration_s)):
            outcome.latencies.add(1e-3)
        outcome.failures = Counter({"status 429": self.failures if failures is None else failures})
        return outcome


def plan(*points: Point, **options: object) -> Plan:
    return Plan(points, duration_s=1.0, warmup_s=0.5, repeats=4, **options)  # type: ignore[arg-type]


def test_points_take_turns_and_share_the_duration_among_the_repeats() -> None:
    driver = Steady(100)

    runs = measure(driver, plan(Point(1), Point(8)))

    assert [stretch.concurrency for stretch in driver.asked] == [1, 8] * 4
    assert {stretch.duration_s for stretch in driver.asked} == {0.25}
    assert [stretch.warmup_s for stretch in driver.asked] == [0.5] * 2 + [0.2] * 6
    assert [(run.whole.requests, run.whole.took_s, len(run.parts)) for run in runs] == [(100, 1.0, 4)] * 2


def test_schedules_differ_from_repeat_to_repeat_and_not_from_bench_to_bench() -> None:
    one, again = Steady(10), Steady(10)

    measure(one, plan(Point(4, rate=50.0)))
    measure(again, plan(Point(4, rate=50.0)))

    schedules = [tuple(stretch.due.tolist()) for stretch in one.asked if stretch.due is not None]
    assert len(set(schedules)) == 4
    assert schedules == [tuple(stretch.due.tolist()) for stretch in again.asked if stretch.due is not None]
    assert all(due[-1] < 0.75 for due in schedules)


def test_a_run_near_the_generator_s_ceiling_is_known_for_it() -> None:
    (free,) = measure(Steady(600, ceiling_rps=1000), plan(Point(1)))
    (bound,) = measure(Steady(800, ceiling_rps=1000), plan(Point(1)))

    assert (free.is_generator_bound, bound.is_generator_bound) == (False, True)
    assert bound.to_dict()["generator_ceiling_rps"] == 1000


def test_failures_are_not_goodput_and_miss_the_level() -> None:
    slo = parse_slo("p99=10ms")

    (good,) = measure(Steady(1000), plan(Point(1), slo=slo))
    (bad,) = measure(Steady(1000, failures=10), plan(Point(1), slo=slo))

    assert (good.is_slo_met, bad.is_slo_met) == (True, False)
    assert good.goodput_rps == pytest.approx(1000)
    assert bad.to_dict()["errors"] == 40
    assert bad.to_dict()["failures"] == {"status 429": 40}


def test_cost_is_that_of_rows() -> None:
    (run,) = measure(Steady(100), plan(Point(1), rows=10, price_per_hour=3.6))

    # 1000 rows a second are 3.6 million an hour.
    assert run.cost_per_million == pytest.approx(1.0)


def test_nothing_answered_has_no_percentiles_and_no_cost() -> None:
    (run,) = measure(Steady(0, failures=1), plan(Point(1), price_per_hour=1.0, slo=parse_slo("p50=1s")))

    document = run.to_dict()
    assert (document["p50_ms"], document["p99_ms"], document["cost_per_million"]) == (None, None, None)
    assert (document["rps"], document["goodput_rps"], document["slo_met"]) == (0, 0, False)


def test_progress_comes_to_its_end() -> None:
    seen: list[tuple[str, int, int | None]] = []

    measure(Steady(10), plan(Point(1), Point(2)), lambda *step: seen.append(step))

    assert seen[0] == ("load: 1 client", 0, 10)
    assert seen[-1] == ("the generator's own ceiling", 9, 10)
