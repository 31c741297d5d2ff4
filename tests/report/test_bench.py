"""The page of a bench, and its pictures."""

from __future__ import annotations

import re

import pytest

from mlserve.report.charts import distribution
from mlserve.report.sketch import MARKS, sketch

CURVE = [(1.0, 0.5), (10.0, 0.9), (100.0, 1.0)]


def test_a_distribution_without_answers_says_so() -> None:
    assert "nothing was answered" in distribution([("a", [])], "latency")
    assert sketch([("a", [])]) == []


def test_each_curve_has_a_name_that_is_escaped() -> None:
    drawn = distribution([("<a>", CURVE), ("b", CURVE)], "latency")

    assert drawn.count("<polyline") == 2
    assert "&lt;a&gt;" in drawn


def test_higher_percentiles_are_further_to_the_right() -> None:
    lines = sketch([("a", CURVE)], width=40)
    at = {line.split()[0]: line.index(MARKS[0]) for line in lines if "│" in line}

    assert at["least"] <= at["p50"] < at["p90"] < at["p99.9"]


@pytest.mark.parametrize("curves", [1, 3, 12])
def test_any_number_of_curves_is_drawn(curves: int) -> None:
    named = [(f"c{number}", CURVE) for number in range(curves)]

    assert sum(line.strip().startswith(tuple(MARKS)) for line in sketch(named)) == curves
    assert distribution(named, "latency").count("<polyline") == curves


def test_a_latency_that_is_always_the_same_is_a_line_and_the_axis_has_round_numbers() -> None:
    drawn = distribution([("a", [(2.0, 1.0)]), ("b", [(0.0117, 0.5), (2.3, 1.0)])], "latency")

    (constant, _) = re.findall(r'<polyline class="[^"]*" points="([^"]*)"', drawn)
    assert len(set(constant.split())) == 2
    assert [label for label in ("0.02<", "0.1<", "1<", "2 ms<") if f">{label}" not in drawn] == []
