"""Distances, against scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from mlserve.errors import InvalidInput
from mlserve.stats.distances import histogram, jensen_shannon, ks, psi, quantile_cuts, wasserstein

# Few different values, so that ties, constants and lone rows are common.
tied = st.lists(st.sampled_from([-2.0, 0.0, 0.5, 1.0, 1e6]), min_size=1, max_size=30)
spread = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)
samples = st.one_of(tied, spread)


# Of so few rows scipy cannot say how likely the distance is, which is not asked.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(samples, samples)
def test_ks_is_scipys(expected, actual):
    assert ks(expected, actual) == pytest.approx(ks_2samp(expected, actual, method="asymp").statistic)


@given(samples, samples, st.integers(0, 99))
def test_wasserstein_is_scipys_with_weights(expected, actual, seed):
    rng = np.random.default_rng(seed)
    weights = [rng.integers(1, 5, len(side)).astype(float) for side in (expected, actual)]

    found = wasserstein(expected, actual, *weights)

    # scipy sums in another order: errors are relative to the largest value.
    assert found == pytest.approx(wasserstein_distance(expected, actual, *weights), rel=1e-9, abs=1e-8)


@given(samples, samples)
def test_a_whole_weight_is_as_many_rows_to_ks(expected, actual):
    weights = np.arange(len(expected)) % 3 + 1

    assert ks(expected, actual, weights) == pytest.approx(ks(np.repeat(expected, weights), actual))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20))
def test_jensen_shannon_is_scipys_in_base_2(counts):
    expected, actual = np.array(counts, float).T
    if not expected.any() or not actual.any():
        return

    # The root of a rounding error is 1e-8.
    assert jensen_shannon(expected, actual) == pytest.approx(jensenshannon(expected, actual, base=2), abs=1e-7)


def test_psi_is_the_sum_over_bins_with_half_a_count_where_one_is_empty():
    expected, actual = [8, 2, 0, 0], [5, 0, 5, 0]

    shares = [(0.8, 0.5), (0.2, 0.05), (0.05, 0.5)]
    assert psi(expected, actual) == pytest.approx(sum((p - q) * np.log(p / q) for p, q in shares))


@given(samples, samples)
def test_every_distance_to_itself_is_none_and_none_is_negative(one, other):
    cuts = quantile_cuts(one)
    counts = histogram(one, cuts), histogram(other, cuts)

    assert (ks(one, one), wasserstein(one, one), psi(counts[0], counts[0])) == (0, 0, 0)
    assert jensen_shannon(counts[0], counts[0]) == 0
    assert min(ks(one, other), wasserstein(one, other), psi(*counts), jensen_shannon(*counts)) >= 0


@given(st.integers(0, 99))
def test_deciles_hold_a_tenth_each(seed):
    values = np.random.default_rng(seed).normal(size=1000)

    assert histogram(values, quantile_cuts(values)).tolist() == [100] * 10


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param(np.full(50, 3.0), np.full(50, 2.0), id="constant, below"),
        pytest.param(np.full(50, 3.0), np.full(50, 4.0), id="constant, above"),
        pytest.param(np.repeat([0.0, 1.0], 25), np.repeat([-1.0, 1.0], 25), id="two values, one moved out"),
    ],
)
def test_a_frequent_value_that_moved_away_is_seen(expected, actual):
    cuts = quantile_cuts(expected)

    assert psi(histogram(expected, cuts), histogram(actual, cuts)) > 1


def test_noise_moves_no_frequent_value_into_another_bin():
    expected = np.repeat([0.1, 0.4, 0.7], [50, 30, 20])
    cuts = quantile_cuts(expected)

    assert psi(histogram(expected, cuts), histogram(expected + 1e-7, cuts)) == 0


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: ks([], [1.0]), id="empty"),
        pytest.param(lambda: wasserstein([1.0], [np.nan]), id="NaN"),
        pytest.param(lambda: ks([1.0], [1.0], [1.0, 2.0]), id="weights of another length"),
        pytest.param(lambda: psi([1], [1, 2]), id="other bins"),
        pytest.param(lambda: jensen_shannon([0, 0], [1, 2]), id="no count"),
    ],
)
def test_what_cannot_be_compared_is_said(call):
    with pytest.raises(InvalidInput):
        call()
