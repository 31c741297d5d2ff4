"""Many p-values at once, against scipy where it has them, and their error rates by simulation."""

import numpy as np
import pytest
from scipy import stats

from mlserve.errors import InvalidInput
from mlserve.stats.multiplicity import adjusted, benjamini_hochberg, bonferroni, cauchy, simes

LEVEL = 0.05


def p_values(*, rows: int, tests: int, correlation: float = 0.0, shift: float = 0.0) -> np.ndarray:
    """One-sided p-values of equally correlated normal statistics, (rows, tests)."""
    rng = np.random.default_rng(11)
    common, own = rng.normal(size=(rows, 1)), rng.normal(size=(rows, tests))
    return stats.norm.sf(shift + np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)


@pytest.mark.parametrize("method", ["bh", "by"])
def test_adjusted_p_values_are_scipys(method: str):
    values = np.random.default_rng(0).beta(0.4, 1, size=200).round(2)

    assert adjusted(values, method) == pytest.approx(stats.false_discovery_control(values, method=method), rel=1e-12)


def test_nothing_is_adjusted_of_nothing():
    assert adjusted([], "bh").size == 0
    assert (simes([]), cauchy([])) == (1.0, 1.0)


def test_bonferroni_multiplies_by_the_number_of_tests():
    assert adjusted([0.01, 0.4, 0.9], "bonferroni").tolist() == pytest.approx([0.03, 1.0, 1.0])


@pytest.mark.parametrize("wrong", [[0.1, float("nan")], [-0.1], [1.1]])
def test_what_is_no_p_value_is_refused(wrong: list[float]):
    for function in (simes, cauchy):
        with pytest.raises(InvalidInput, match="from 0 to 1"):
            function(wrong)


def test_a_cauchy_combination_of_equal_values_is_that_value_down_to_the_smallest():
    for value in (0.3, 1e-4, 1e-12, 1e-200):
        assert cauchy([value] * 7) == pytest.approx(value, rel=1e-9)


def test_a_p_value_of_one_silences_no_other():
    assert cauchy([1.0, 1e-6]) < 1e-5


def test_a_p_value_of_zero_is_the_answer():
    assert cauchy([0.0, 0.9]) == 0.0


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInput, match="2 p-values need as many weights"):
        cauchy([0.1, 0.2], [1.0])


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_no_more_than_the_level_is_found_where_there_is_nothing(correlation: float):
    drawn = p_values(rows=4000, tests=20, correlation=correlation)

    # Four standard errors of 4,000 draws.
    limit = LEVEL + 4 * np.sqrt(LEVEL * (1 - LEVEL) / len(drawn))
    assert np.mean([benjamini_hochberg(row, LEVEL).any() for row in drawn]) <= limit
    assert np.mean([bonferroni(row, LEVEL).any() for row in drawn]) <= limit
    assert np.mean([simes(row) <= LEVEL for row in drawn]) <= limit
    # As documented: correlated tests take the Cauchy combination above its level by a half.
    assert np.mean([cauchy(row) <= LEVEL for row in drawn]) <= limit + 0.03 * (correlation > 0)


def test_false_findings_among_all_stay_below_the_level_of_benjamini_hochberg():
    null = p_values(rows=1500, tests=16)
    real = p_values(rows=1500, tests=4, shift=3.0)

    found = np.array([benjamini_hochberg(row, LEVEL) for row in np.hstack([null, real])])
    false_share = found[:, :16].sum(axis=1) / np.maximum(found.sum(axis=1), 1)

    assert false_share.mean() <= LEVEL
    assert found[:, 16:].mean() > 0.5
