"""Intervals of paired means, against scipy's and against the truth that they must hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlserve.stats.intervals import PairedMeans, t_975


def means_of(before: np.ndarray, after: np.ndarray, weights: np.ndarray | None = None) -> PairedMeans:
    found = PairedMeans()
    found.add(before, after, weights)
    return found


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 29, 100, 1e6])
def test_t_is_scipys(freedom: float):
    assert t_975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=4e-3)


def test_the_interval_of_a_difference_is_the_paired_t_test_s():
    before, after = np.random.default_rng(1).normal(size=(2, 60)) + 1e6

    low, high = means_of(before, after).interval()

    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    # t's quantile is good to 1e-4 here.
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-3)


@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_parts_merged_are_the_whole(seed: int, rows: int, is_weighted: bool):
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(2, rows)) + rng.choice([0.0, 1e4])
    weights = rng.uniform(1, 9, rows) if is_weighted else None
    whole, merged = means_of(before, after, weights), PairedMeans()

    for part in np.array_split(rng.permutation(rows), 4):
        one = means_of(before[part], after[part], None if weights is None else weights[part])
        merged.merge(PairedMeans.from_state(one.state()))

    assert merged.rows == rows
    # Means of 1e4 leave 12 digits to their deviations.
    assert (merged.before, merged.after) == pytest.approx((whole.before, whole.after), rel=1e-12)
    assert merged.variances == pytest.approx(whole.variances, rel=1e-6, abs=1e-18)


def test_weights_that_are_alike_change_nothing():
    before, after = np.random.default_rng(2).normal(size=(2, 30))

    assert means_of(before, after, np.full(30, 7.0)).interval() == pytest.approx(means_of(before, after).interval())


@pytest.mark.parametrize("shares", [(0.9, 0.9), (0.99, 0.97), (0.5, 0.6)], ids=str)
def test_the_interval_of_shares_holds_the_truth_19_times_of_20(shares: tuple[float, float]):
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        before, after = (rng.random(60) < share for share in shares)
        low, high = means_of(before.astype(float), after.astype(float)).share_interval()
        held += low <= shares[1] - shares[0] <= high

    # 950 of 1000 with a standard error of 7; the method is known to err on the safe side.
    assert held >= 935


def test_rows_that_all_agree_leave_doubt_that_goes_with_their_number():
    few, many = (means_of(np.ones(rows), np.ones(rows)).share_interval() for rows in (10, 1000))

    assert few[0] < many[0] < 0 < many[1] < few[1]


def test_the_interval_of_a_root_holds_the_truth():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(500):
        noise = rng.normal(size=(2, 200))
        low, high = means_of(noise[0] ** 2, (noise[0] + 0.5 * noise[1]) ** 2).root_interval()
        held += low <= np.sqrt(1.25) - 1 <= high

    # 475 of 500 with a standard error of 5.
    assert held >= 460


def test_one_row_says_nothing_of_spread():
    found = means_of(np.ones(1), np.zeros(1))

    assert (found.interval(), found.share_interval(), found.root_interval()) == (None, None, None)
