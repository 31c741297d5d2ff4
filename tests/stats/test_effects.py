"""Sizes of differences, against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mlserve.errors import InvalidInput
from mlserve.stats.effects import auc, cramers_v, total_variation, wasserstein_sd


def test_the_way_that_values_moved_is_scipys():
    rng = np.random.default_rng(0)
    reference, window = rng.normal(3, 2, 300), rng.exponential(size=170)

    wanted = stats.wasserstein_distance(reference, window) / reference.std()
    assert wasserstein_sd(reference, window) == pytest.approx(wanted, rel=1e-12)


def test_it_knows_no_unit():
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=100), rng.normal(1, 1, size=100)

    assert wasserstein_sd(reference * 1000, window * 1000) == pytest.approx(wasserstein_sd(reference, window))


@pytest.mark.parametrize(("window", "effect"), [([2.0, 2.0], 0.0), ([2.0, 3.0], float("inf"))])
def test_a_constant_reference_has_no_spread_to_measure_by(window: list[float], effect: float):
    assert wasserstein_sd([2.0, 2.0, 2.0], window) == effect


def test_values_that_are_not_finite_do_not_count():
    assert wasserstein_sd([0.0, 1.0, np.nan], [1.0, 2.0, np.inf]) == wasserstein_sd([0.0, 1.0], [1.0, 2.0])
    with pytest.raises(InvalidInput, match="without a finite value"):
        wasserstein_sd([0.0], [np.nan])


def test_cramers_v_is_scipys():
    one, other = [30, 50, 20, 0], [10, 60, 25, 5]

    wanted = stats.contingency.association(np.array([one, other]), method="cramer")
    assert cramers_v(one, other) == pytest.approx(wanted, rel=1e-12)
    assert cramers_v([*one, 0], [*other, 0]) == cramers_v(one, other)


def test_the_area_is_scikit_learns_with_ties():
    rng = np.random.default_rng(2)
    reference, window = rng.normal(size=90).round(1), rng.normal(0.3, 1, size=70).round(1)

    truth = np.repeat([0, 1], [90, 70])
    assert auc(reference, window) == pytest.approx(roc_auc_score(truth, np.concatenate([reference, window])))


def test_all_that_can_change_is_one():
    assert total_variation([1, 0], [0, 7]) == 1.0
    assert cramers_v([1, 0], [0, 7]) == pytest.approx(1.0)


@pytest.mark.parametrize(("one", "other"), [([1], [1, 2]), ([0, 0], [1, 2])])
def test_counts_that_do_not_fit_are_refused(one: list[int], other: list[int]):
    with pytest.raises(InvalidInput, match="same categories"):
        total_variation(one, other)
