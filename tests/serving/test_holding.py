"""What a run costs by what was measured, and when waiting for more rows pays."""

from __future__ import annotations

import random
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.runtime.costs import Costs
from mlserve.serving.holding import RATE_S, Arrivals, Curve, hold_for_more, hold_until


def curve(alpha_s: float = 4e-3, beta_s: float = 1e-3, percentile: float = 99.0) -> Curve:
    return Curve(Costs(alpha_s, beta_s, has_control_flow=False), percentile)


def test_before_any_run_the_costs_of_the_load_are_believed() -> None:
    assert curve().mean_s(4) == curve().high_s(4) == pytest.approx(8e-3)


def test_runs_correct_what_was_believed_for_their_size_and_for_those_never_run() -> None:
    learnt = curve()
    for _ in range(50):
        learnt.note(8, 24e-3)

    assert learnt.mean_s(8) == pytest.approx(24e-3)
    assert learnt.mean_s(64) == pytest.approx(2 * 68e-3)
    assert learnt.mean_s(1) == pytest.approx(2 * 5e-3)


@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_the_high_time_is_about_the_percentile_asked_for(percentile: float) -> None:
    rng, learnt = random.Random(1), curve(percentile=percentile)
    times_s = [5e-3 * rng.lognormvariate(0.0, 0.3) for _ in range(20_000)]
    highs_s = []
    for run_s in times_s:
        learnt.note(1, run_s)
        highs_s.append(learnt.high_s(1))

    wanted_s = quantiles(times_s, n=1000)[int(10 * percentile) - 1]
    settled = highs_s[2000:]
    assert sum(settled) / len(settled) == pytest.approx(wanted_s, rel=0.15)
    assert learnt.mean_s(1) < learnt.high_s(1)


@given(limit_ms=st.floats(0.0, 400.0), most=st.integers(1, 256))
def test_the_rows_within_a_time_are_the_most_that_fit(limit_ms: float, most: int) -> None:
    known = curve()
    rows = known.rows_within(1e-3 * limit_ms, most)

    assert 0 <= rows <= most
    assert rows == 0 or known.high_s(rows) <= 1e-3 * limit_ms
    assert rows == most or known.high_s(rows + 1) > 1e-3 * limit_ms


def test_the_rate_follows_what_comes_and_forgets_what_came() -> None:
    arrivals = Arrivals()
    for number in range(2000):
        arrivals.note(2, number / 500)

    assert arrivals.rate(4.0) == pytest.approx(1000, rel=0.02)
    assert arrivals.rate(4.0 + 10 * RATE_S) < 1


def test_a_fixed_hold_ends_with_a_full_batch_a_preferred_one_or_the_delay() -> None:
    assert hold_until(5.0, queued_rows=1, max_rows=8, max_delay_s=0.0) == 5.0
    assert hold_until(5.0, queued_rows=8, max_rows=8, max_delay_s=0.1) == 5.0
    assert hold_until(5.0, queued_rows=7, max_rows=8, max_delay_s=0.1) == pytest.approx(5.1)
    assert hold_until(5.0, queued_rows=4, max_rows=8, max_delay_s=0.1, preferred=(4,)) == 5.0
    assert hold_until(5.0, queued_rows=3, max_rows=8, max_delay_s=0.1, preferred=(4,)) == pytest.approx(5.1)


def held(
    *, rate: float = 2000.0, rows: int = 1, due_s: float = 1.0, now_s: float = 0.0, alpha_s: float = 4e-3
) -> float:
    return hold_for_more(now_s, 0.0, rows, 64, due_s, curve(alpha_s, 0.25e-3), rate, lanes=2)


def test_where_lanes_are_short_and_a_run_has_a_large_fixed_cost_the_oldest_waits_for_part_of_it() -> None:
    assert held() == pytest.approx(2e-3)


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param({"rate": 100.0}, id="the lanes can run every row alone"),
        pytest.param({"alpha_s": 1e-5}, id="nothing fixed to save"),
        pytest.param({"rows": 64}, id="the batch is full"),
        pytest.param({"due_s": 5e-3}, id="it would be late"),
        pytest.param({"now_s": 2e-3}, id="it has waited"),
    ],
)
def test_otherwise_a_batch_goes_at_once(reason: dict[str, float]) -> None:
    assert held(**reason) == reason.get("now_s", 0.0)  # type: ignore[arg-type]


def test_one_run_that_the_machine_kept_waiting_hardly_moves_a_curve_and_many_do() -> None:
    curve = Curve(Costs(alpha_s=1e-5, beta_s=1e-6, has_control_flow=False), 99.0)
    for _ in range(50):
        curve.note(8, 18e-6)
    curve.note(8, 30e-3)

    assert curve.mean_s(8) < 30e-6

    for _ in range(100):
        curve.note(8, 1e-3)
    assert curve.mean_s(8) > 0.9e-3
