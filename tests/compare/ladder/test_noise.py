"""Noise is not called a difference, and a difference is not called noise."""

import numpy as np
import pytest
from scipy import stats

from mlserve.compare.ladder.comparison import Comparison
from mlserve.compare.ladder.noise import LEVEL, exceedance, more_often
from tests.compare.ladder.pairs_of import pairs_of


@pytest.mark.parametrize(("count", "of", "other", "of_other"), [(9, 100, 1, 100), (30, 1000, 2, 300), (5, 10, 0, 90)])
def test_the_rate_test_is_scipys_binomial_test(count, of, other, of_other):
    known = stats.binomtest(count, count + other, of / (of + of_other), alternative="greater").pvalue

    assert more_often(count, of, other, of_other) == pytest.approx(known, rel=1e-9)


def test_fewer_than_expected_is_no_evidence_however_many_there_are():
    assert more_often(400_000, 10**6, 500_000, 10**6) == 1.0


@pytest.mark.parametrize(("count", "of", "of_other"), [(1, 10, 10), (3, 50, 20), (0, 5, 5)])
def test_the_exceedance_test_is_the_hypergeometric_chance(count, of, of_other):
    known = stats.hypergeom.pmf(count, of + of_other, of, count)

    assert exceedance(count, of, of_other) == pytest.approx(known, rel=1e-9)


def scores(seed, rows=2000, spread=1e-6):
    return np.random.default_rng(seed).normal(0, spread, (rows, 1)) * [1, -1]


def verdict(candidate, again, rows=2000):
    base = np.random.default_rng(0).normal(size=(rows, 2))
    comparison = Comparison()
    comparison.add(pairs_of({"y": base}, {"y": base + candidate}))
    comparison.add_noise(pairs_of({"y": base}, {"y": base + again}))
    return comparison.figures()["noise"]


def test_as_much_as_the_baseline_itself_is_no_difference_in_all_but_a_hundredth():
    found = [verdict(scores(seed), scores(seed + 1000))["difference_beyond_noise"] for seed in range(1, 101)]

    # 100 seeds at a level of 0.01: more than 5 would come by chance once in 2000 times.
    assert sum(found) <= 5
    assert LEVEL == 0.01


def test_ten_times_the_noise_is_a_difference():
    assert verdict(scores(1, spread=1e-5), scores(2))["difference_beyond_noise"]


def test_a_row_or_two_are_no_proof_where_the_baseline_is_silent():
    one_row = np.zeros((2000, 2))
    one_row[7] = 1e-6

    found = verdict(one_row, np.zeros((2000, 2)))

    assert (found["identical"], found["beyond_rows"], found["difference_beyond_noise"]) == (2000, 1, False)


def test_flipped_decisions_are_a_difference_though_each_is_within_the_farthest_noise():
    far = np.zeros((2000, 2))
    far[0] = [50.0, -50.0]
    flips = np.zeros((2000, 2))
    flips[:200] = [5.0, -5.0]
    flips[200:400] = [-5.0, 5.0]

    found = verdict(flips, far)

    assert (found["beyond_rows"], found["difference_beyond_noise"]) == (0, True)


def test_noise_learned_apart_is_the_same_noise():
    base = np.random.default_rng(0).normal(size=(300, 2))
    again = pairs_of({"y": base}, {"y": base + scores(2, 300)})
    direct, apart, learned = Comparison(), Comparison(), Comparison()
    for comparison in (direct, apart):
        comparison.add(pairs_of({"y": base}, {"y": base + scores(1, 300, 1e-5)}))
    direct.add_noise(again)
    learned.add(again)

    apart.take_noise(learned)

    assert apart.figures()["noise"] == direct.figures()["noise"]


def test_without_a_second_run_of_the_baseline_there_is_no_verdict():
    comparison = Comparison()
    comparison.add(pairs_of({"y": [1.0]}, {"y": [2.0]}))

    assert comparison.figures()["noise"] is None
