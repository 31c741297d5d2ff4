"""Intervals hold what they say they hold."""

from __future__ import annotations

import numpy as np
import pytest

from mlserve.bench.intervals import median_interval, t_interval


def test_one_value_has_no_interval() -> None:
    assert t_interval([1.0]) is None


@pytest.mark.parametrize("count", [2, 5, 40])
def test_the_mean_lies_in_its_interval_as_often_as_it_should(count: int) -> None:
    rng = np.random.default_rng(0)
    intervals = [t_interval(rng.normal(size=count).tolist()) for _ in range(2000)]

    share = np.mean([low <= 0 <= high for low, high in intervals if low is not None])

    # Three standard errors of a share of 0.95 in two thousand draws, and what 1.96 gives away beyond thirty.
    assert share == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("count", [6, 9, 25])
def test_the_median_lies_in_its_interval_at_least_as_often(count: int) -> None:
    rng = np.random.default_rng(0)
    intervals = [median_interval(rng.lognormal(size=count).tolist()) for _ in range(2000)]

    assert np.mean([low <= 1 <= high for low, high in intervals]) >= 0.935


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_of_a_few_values_the_interval_is_their_range(count: int) -> None:
    values = list(range(count))

    assert median_interval(values) == (0, count - 1)


def test_many_values_narrow_the_interval() -> None:
    low, high = median_interval(list(range(101)))

    assert 35 < low < 50 < high < 65
