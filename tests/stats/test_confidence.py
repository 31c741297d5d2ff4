"""Confidence sequences: coverage at every moment at once, by simulation."""

import msgspec
import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.stats.confidence import (
    BURN_IN,
    BernsteinState,
    asymptotic_interval,
    asymptotic_lower,
)

ALPHA = 0.05


def test_values_in_pieces_give_what_they_give_in_one():
    values = np.random.default_rng(0).beta(2, 5, size=777)
    whole, parts = BernsteinState().added(values), BernsteinState()
    for piece in np.split(values, [0, 1, 2, 100, 500]):
        parts = parts.added(piece)

    assert parts.count == whole.count
    assert parts.interval() == pytest.approx(whole.interval(), rel=1e-12)
    assert whole.mean == pytest.approx(values.mean(), rel=1e-12)


def test_the_state_survives_being_stored():
    state = BernsteinState(0.01).added(np.random.default_rng(1).uniform(size=50))

    assert msgspec.json.decode(msgspec.json.encode(state), type=BernsteinState) == state


def test_nothing_is_known_of_nothing():
    assert BernsteinState().interval() == (0.0, 1.0)
    assert BernsteinState().mean is None


@pytest.mark.parametrize("wrong", [[1.5], [-0.1], [float("nan")]])
def test_values_outside_the_bounds_are_refused(wrong: list[float]):
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        BernsteinState().added(np.array(wrong))


def test_an_interval_of_no_values_is_refused():
    with pytest.raises(InvalidInput, match="at least one value"):
        asymptotic_interval(0.0, 1.0, 0)


def test_one_side_is_tighter_than_two():
    assert asymptotic_lower(0.0, 1.0, 1000) > asymptotic_interval(0.0, 1.0, 1000)[0]


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.02, 0.4])
def test_the_bounded_mean_is_inside_at_every_look(mean: float, in_full: bool):
    rng = np.random.default_rng(5)
    lives, looks = (2000 if in_full else 150), range(25)

    missed = 0
    for _ in range(lives):
        state, is_out = BernsteinState(ALPHA), False
        for _ in looks:
            state = state.added((rng.uniform(size=40) < mean).astype(np.float64))
            low, high = state.interval()
            is_out |= not low <= mean <= high
        missed += is_out

    assert missed / lives <= ALPHA


@pytest.mark.slow
def test_an_unbounded_mean_is_inside_at_every_look_after_the_burn_in(in_full: bool):
    rng = np.random.default_rng(6)
    lives = 4000 if in_full else 400
    values = rng.exponential(size=(lives, 3000))
    counts = np.arange(1, values.shape[1] + 1)
    means = values.cumsum(axis=1) / counts
    variances = np.maximum((values**2).cumsum(axis=1) / counts - means**2, 0)

    looks = range(BURN_IN, values.shape[1], 50)
    two, one = np.zeros(lives, bool), np.zeros(lives, bool)
    for n in looks:
        for life in range(lives):
            low, high = asymptotic_interval(means[life, n - 1], variances[life, n - 1], n, alpha=ALPHA)
            two[life] |= not low <= 1.0 <= high
            one[life] |= asymptotic_lower(means[life, n - 1], variances[life, n - 1], n, alpha=ALPHA) > 1.0

    # It holds in the limit only; skewed values at the burn-in cost up to a fifth of the level.
    assert two.mean() <= ALPHA * 1.2
    assert one.mean() <= ALPHA * 1.2
