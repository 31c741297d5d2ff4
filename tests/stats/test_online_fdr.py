"""LORD++: its levels against the formula written out, and its error rate by simulation."""

import msgspec
import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.stats.online_fdr import LordState, judged, next_level


def run(p_values: np.ndarray, alpha: float = 0.05) -> tuple[LordState, np.ndarray]:
    state, rejected = LordState.start(alpha), []
    for p_value in p_values:
        state, is_rejected = judged(state, float(p_value))
        rejected.append(is_rejected)
    return state, np.array(rejected)


def test_the_shares_of_a_quiet_life_never_exceed_what_it_began_with():
    state, levels = LordState.start(0.05), []
    for _ in range(3000):
        levels.append(next_level(state))
        state, _ = judged(state, 1.0)

    assert 0.3 * state.wealth < sum(levels) < state.wealth
    assert levels == sorted(levels, reverse=True)


def test_a_rejection_earns_error_back():
    quiet, _ = judged(LordState.start(0.05), 1.0)
    loud, _ = judged(LordState.start(0.05), 0.0)

    assert next_level(loud) > next_level(quiet)


def test_the_state_survives_being_stored():
    state, _ = run(np.array([0.5, 1e-6, 0.3, 1e-9]))

    assert msgspec.json.decode(msgspec.json.encode(state), type=LordState) == state
    assert state.rejections == (2, 4)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1])
def test_a_level_that_is_none_is_refused(wrong: float):
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        LordState.start(wrong)


def test_what_is_no_p_value_is_refused():
    with pytest.raises(InvalidInput, match="nan"):
        judged(LordState.start(0.05), float("nan"))


@pytest.mark.slow
def test_lives_without_drift_hardly_ever_raise_an_alarm_and_false_ones_are_rare_among_true(in_full: bool):
    rng = np.random.default_rng(3)
    lives, days, alpha = (4000 if in_full else 300), 90, 0.05

    false_lives = np.mean([run(rng.uniform(size=days), alpha)[1].any() for _ in range(lives)])
    shares = []
    for _ in range(lives // 3):
        is_real = rng.uniform(size=days) < 0.2
        _, rejected = run(np.where(is_real, rng.uniform(size=days) * 1e-4, rng.uniform(size=days)), alpha)
        shares.append((rejected & ~is_real).sum() / max(rejected.sum(), 1))

    assert false_lives <= alpha
    assert np.mean(shares) <= alpha
    assert np.mean(shares) > 0
