"""Histograms count every value once, merge exactly, and tell percentiles to within a bucket."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.histograms import ROWS, SECONDS, Histogram

values = st.lists(st.floats(0, 500), max_size=60)


def slow(bounds: tuple[float, ...], numbers: list[float]) -> list[int]:
    """Counts by looking at every bucket for every number."""
    uppers = [*bounds, float("inf")]
    counts = [0] * len(uppers)
    for number in numbers:
        counts[next(place for place, upper in enumerate(uppers) if number <= upper)] += 1
    return counts


@given(values)
def test_every_value_is_counted_in_the_first_bucket_that_holds_it(numbers: list[float]) -> None:
    one, many = Histogram.over(SECONDS), Histogram.over(SECONDS)

    for number in numbers:
        one.add(number)
    many.add_many(np.array(numbers, dtype=float))

    assert one.counts == many.counts == slow(SECONDS, numbers)
    assert many.total == pytest.approx(sum(numbers))


@given(values, values)
def test_merging_is_counting_all(mine: list[float], theirs: list[float]) -> None:
    both, first, second = (Histogram.over(ROWS) for _ in range(3))

    both.add_many(np.array(mine + theirs, dtype=float))
    first.add_many(np.array(mine, dtype=float))
    second.add_many(np.array(theirs, dtype=float))

    assert first.merged(second).counts == both.counts
    assert both.since(first).counts == second.counts


def test_a_counter_that_went_back_is_counted_from_nothing() -> None:
    before, after = Histogram((1.0,), [5, 0], 3.0), Histogram((1.0,), [2, 1], 4.0)

    assert after.since(before) == after


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_percentile_lies_in_the_bucket_of_the_true_one(share: float) -> None:
    numbers = np.random.default_rng(0).lognormal(-6, 1, 10_000)
    seen = Histogram.over(SECONDS)
    seen.add_many(numbers)

    found = seen.quantile(share)

    exact = float(np.quantile(numbers, share))
    place = int(np.searchsorted(SECONDS, exact))
    assert found is not None
    assert SECONDS[place - 1] <= found <= SECONDS[place]


def test_nothing_has_no_percentile_and_what_is_beyond_the_last_bound_counts_as_it() -> None:
    empty, beyond = Histogram.over(SECONDS), Histogram.over(SECONDS)
    beyond.add(1e6)

    assert empty.quantile(0.5) is None
    assert beyond.quantile(0.5) == SECONDS[-1]
