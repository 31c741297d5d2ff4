"""Tails of counts are scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlserve.errors import InvalidInput
from mlserve.stats.counts import binomial_above, binomial_below, poisson_above, poisson_below

SHARES = st.floats(1e-6, 1 - 1e-6)


@given(st.integers(1, 5000), SHARES, st.data())
def test_binomial_tails_are_scipys(trials: int, share: float, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))

    # lgamma is good to about 1e-13 of values up to 4e4.
    assert binomial_above(successes, trials, share) == pytest.approx(
        stats.binom.sf(successes - 1, trials, share), rel=1e-6, abs=1e-12
    )
    assert binomial_below(successes, trials, share) == pytest.approx(
        stats.binom.cdf(successes, trials, share), rel=1e-6, abs=1e-12
    )


@given(st.integers(0, 3000), st.floats(1e-3, 3000))
def test_poisson_tails_are_scipys(count: int, mean: float) -> None:
    assert poisson_above(count, mean) == pytest.approx(stats.poisson.sf(count - 1, mean), rel=1e-6, abs=1e-12)
    assert poisson_below(count, mean) == pytest.approx(stats.poisson.cdf(count, mean), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("more", [-4000, -1500, 1500, 4000])
def test_ten_million_rows_are_judged_too(more: int) -> None:
    trials, share = 10_000_000, 0.2
    successes = int(trials * share) + more

    assert binomial_above(successes, trials, share) == pytest.approx(
        stats.binom.sf(successes - 1, trials, share), rel=1e-4, abs=1e-9
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_cannot_happen_has_no_chance(share: float) -> None:
    assert binomial_above(1, 10, share) == share
    assert binomial_above(0, 10, share) == 1.0
    assert poisson_above(1, 0.0) == 0.0
    assert poisson_below(0, 0.0) == 1.0


def test_a_negative_count_is_none() -> None:
    with pytest.raises(InvalidInput):
        binomial_above(-1, 10, 0.5)
    with pytest.raises(InvalidInput):
        poisson_below(1, -2.0)
