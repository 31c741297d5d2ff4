"""When something began."""

import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.stats.changepoint import began, shift_of
from mlserve.stats.martingale import advance, cells_of, start


def test_the_beginning_is_found_near_where_it_was():
    rng = np.random.default_rng(0)
    state = start(rng.normal(size=1000), cells_of(rng.normal(size=2000), 256))
    scores = np.concatenate([rng.normal(size=800), rng.normal(1.0, 1, size=400)])

    _, path = advance(state, scores, rng.uniform(size=len(scores)))

    assert 700 < began(path.log_evidence) < 900


def test_of_evidence_that_rises_from_the_start_it_is_the_first_row():
    assert began([0.1, 0.2, 0.3]) == 0


def test_of_evidence_that_only_falls_it_is_the_last_row_worth_asking_about():
    assert began([-1.0, -2.0, -3.0]) in range(3)


@pytest.mark.parametrize("wrong", [[], [0.0, float("nan")], [[0.0]]])
def test_what_is_no_series_is_refused(wrong: list[float]):
    with pytest.raises(InvalidInput):
        began(wrong)


def test_a_shift_of_days_is_found_with_its_means():
    values = np.random.default_rng(1).normal(size=60) * 0.1
    values[40:] += 1.0

    found = shift_of(values, seed=0)

    assert found.place == 40
    assert found.after - found.before == pytest.approx(1.0, abs=0.1)
    assert found.p_value == 0.001


def test_days_without_a_shift_seldom_seem_to_have_one():
    rng = np.random.default_rng(2)

    p_values = np.array([shift_of(rng.normal(size=20), seed=seed, permutations=99).p_value for seed in range(200)])

    # Four standard errors of 200 draws.
    assert np.mean(p_values <= 0.1) <= 0.1 + 4 * np.sqrt(0.09 / 200)


def test_of_too_few_values_nothing_is_said():
    assert shift_of([1.0, 2.0, 3.0], seed=0) is None


def test_values_that_are_all_the_same_have_no_shift():
    assert shift_of([2.0] * 10, seed=0).p_value == 1.0
