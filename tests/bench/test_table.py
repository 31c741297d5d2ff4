"""What passes and what doesn't, in the table of ``make bench``."""

from __future__ import annotations

import pytest

from tests.bench.table import Demand, Line, as_markdown, as_text, cells


def line(ratios: list[float], demand: Demand, *, errors: int = 0, reason: str = "") -> Line:
    return Line("work", "limit", demand, "/s", ratios, 1234.5, 0.5, errors, reason=reason)


@pytest.mark.parametrize(
    ("ratios", "demand", "verdict"),
    [
        pytest.param([0.9, 0.9, 0.9, 0.9, 1.0], Demand(1.0), "passed", id="the upper end reaches it"),
        pytest.param([0.9] * 5, Demand(0.95), "missed", id="no end reaches it"),
        pytest.param([2.4, 2.6, 2.6, 2.7, 2.8], Demand(2.5, at_most=True), "passed", id="the lower end is low enough"),
        pytest.param([2.6] * 5, Demand(2.5, at_most=True), "missed", id="no end is low enough"),
        pytest.param([3.0], Demand(None), "–", id="nothing is demanded"),
        pytest.param([], Demand(1.0), "not available", id="nothing was measured"),
    ],
)
def test_a_row_passes_when_the_end_of_its_interval_reaches_the_demand(
    ratios: list[float], demand: Demand, verdict: str
) -> None:
    assert line(ratios, demand).verdict == verdict


def test_wrong_answers_pass_nothing() -> None:
    assert line([5.0] * 5, Demand(1.0), errors=1).verdict == "errors"


def test_a_row_says_all_that_it_rests_on() -> None:
    shown = cells(line([1.0, 2.0, 3.0, 4.0, 5.0], Demand(7)))

    assert shown == ["work", "limit", "1,234 /s", "0.5 /s", "3", "1 – 5", "≥ 7", "missed"]


def test_a_row_without_figures_stays_and_says_why() -> None:
    shown = as_text([line([], Demand(7), reason="no gRPC yet"), line([1.0], Demand(7))])

    assert "not available: no gRPC yet" in shown.splitlines()[1]
    assert len({row.index("≥ 7") for row in shown.splitlines()[1:]}) == 1
    assert as_markdown([line([1.0], Demand(7))]).count("\n") == 2
