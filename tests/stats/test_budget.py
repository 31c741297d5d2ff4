"""From tolerated false pages to levels, and back by simulating quarters in which nothing changes."""

import numpy as np
import pytest
from scipy import stats

from mlserve.errors import InvalidInput
from mlserve.stats.budget import QUARTER_S, shared, thresholds
from mlserve.stats.martingale import advance, cells_of, is_due, start
from mlserve.stats.multiplicity import benjamini_hochberg, cauchy
from mlserve.stats.online_fdr import LordState, judged

DAY_S = 86_400


def test_rarer_checks_may_each_spend_more():
    hourly, daily, yearly = (thresholds(1, check_every_s=every) for every in (3600, DAY_S, 365 * DAY_S))

    assert hourly.alpha_per_check == pytest.approx(daily.alpha_per_check / 24)
    assert yearly.alpha_per_check == 0.5
    assert daily.mean_rows is None


def test_a_share_spends_a_share():
    whole, half = (thresholds(1, check_every_s=DAY_S, rows_per_day=1000, share=share) for share in (1.0, 0.5))

    assert half.alpha_per_check == whole.alpha_per_check / 2
    assert half.mean_rows == whole.mean_rows * 2


@pytest.mark.parametrize("wrong", [{"check_every_s": 0}, {"check_every_s": 1, "share": 0}])
def test_budgets_that_are_none_are_refused(wrong: dict[str, float]):
    with pytest.raises(InvalidInput):
        thresholds(1, **wrong)
    with pytest.raises(InvalidInput):
        shared({"quality": 0})


@pytest.mark.slow
@pytest.mark.parametrize("pages", [0.5, 2.0])
def test_a_quarter_of_daily_checks_without_drift_pages_no_more_than_was_tolerated(pages: float, in_full: bool):
    """Means of windows against one fixed reference, ten features: the p-values of a quarter depend on each other."""
    rng = np.random.default_rng(1)
    quarters, days, features, rows = (400 if in_full else 40), int(QUARTER_S // DAY_S), 10, 120
    alpha = thresholds(pages, check_every_s=DAY_S).alpha_per_check

    by_features, by_one, plain = [], [], []
    for _ in range(quarters):
        reference = rng.normal(size=(400, features)).mean(axis=0)
        windows = rng.normal(size=(days, rows, features)).mean(axis=1)
        p_values = 2 * stats.norm.sf(np.abs(windows - reference) / np.sqrt(1 / rows + 1 / 400))
        by_features.append(sum(benjamini_hochberg(day, alpha).any() for day in p_values))
        by_one.append(sum(cauchy(day) <= alpha for day in p_values))
        plain.append((p_values[:, 0] <= 0.05).sum())

    # Three standard errors of the mean of counts whose variance is a few times their mean.
    allowed = pages + 3 * np.sqrt(3 * pages / quarters)
    assert np.mean(by_features) <= allowed
    assert np.mean(by_one) <= allowed
    assert np.mean(plain) > 2, "what a plain daily test at 0.05 does"


@pytest.mark.slow
def test_lord_and_the_martingale_keep_to_it_too(in_full: bool):
    rng = np.random.default_rng(2)
    quarters, rows_per_day, days = (300 if in_full else 25), 30, 91
    allowed = thresholds(0.5, check_every_s=DAY_S, rows_per_day=rows_per_day)

    lord, due = 0, 0
    for _ in range(quarters):
        state = LordState.start(allowed.alpha_per_quarter)
        for p_value in rng.uniform(size=days):
            state, is_page = judged(state, float(p_value))
            lord += is_page
        bets = start(rng.normal(size=300), cells_of(rng.normal(size=1000), 128))
        bets, path = advance(bets, rng.normal(size=rows_per_day * days), rng.uniform(size=rows_per_day * days))
        due += bool((path.log_recurring >= np.log(allowed.mean_rows)).any()) or is_due(bets, allowed.mean_rows)

    slack = 3 * np.sqrt(0.25 / quarters)
    assert lord / quarters <= 0.5 + slack
    assert due / quarters <= 0.5 + slack
