"""The conformal test martingale: its p-values, its state, its error rates and its power."""

import msgspec
import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.stats.martingale import (
    MartingaleState,
    acknowledged,
    advance,
    cells_of,
    has_ever,
    is_due,
    start,
    uniforms,
)


def new(rng: np.random.Generator, pool: int = 500) -> MartingaleState:
    return start(rng.normal(size=pool), cells_of(rng.normal(size=2000), 256))


def test_p_values_are_the_definition_written_out():
    rng = np.random.default_rng(0)
    pool, scores, ties = rng.integers(0, 9, 40), rng.integers(0, 9, 600), rng.uniform(size=600)
    _, path = advance(start(pool, np.arange(1.0, 9.0)), scores, ties)

    seen = list(pool)
    for score, tie, p_value in zip(scores, ties, path.p_values, strict=True):
        seen.append(score)
        above, same = sum(one > score for one in seen), sum(one == score for one in seen)
        assert p_value == pytest.approx((above + tie * same) / len(seen), abs=1e-15)


def test_rows_in_pieces_give_what_they_give_in_one():
    rng = np.random.default_rng(1)
    state, scores, ties = new(rng), rng.normal(size=900), rng.uniform(size=900)

    whole, _ = advance(state, scores, ties)
    parts = state
    for piece in np.split(np.arange(900), [1, 17, 500]):
        parts, _ = advance(parts, scores[piece], ties[piece])

    assert parts == whole


def test_the_state_survives_being_stored():
    rng = np.random.default_rng(2)
    state, _ = advance(new(rng), rng.normal(size=50), rng.uniform(size=50))

    assert msgspec.json.decode(msgspec.json.encode(state), type=MartingaleState) == state
    fresh = new(rng)
    assert msgspec.json.decode(msgspec.json.encode(fresh), type=MartingaleState) == fresh


def test_a_repeated_value_has_a_cell_to_itself():
    edges = cells_of(np.array([0.0] * 50 + [1.0] * 30 + [2.0, 3.0] * 10), 8)

    assert len({int(np.searchsorted(edges, value, side="right")) for value in (0.0, 1.0, 2.0)}) == 3
    assert np.searchsorted(edges, 1.0, side="right") != np.searchsorted(edges, 1.5, side="right")


def test_ties_are_broken_the_same_in_every_replay():
    assert uniforms(["r1", "r2"], "m:1").tolist() == uniforms(["r1", "r2"], "m:1").tolist()
    assert uniforms(["r1"], "m:1") != uniforms(["r1"], "m:2")


@pytest.mark.parametrize(
    ("scores", "ties"),
    [pytest.param([np.nan], [0.5], id="NaN"), pytest.param([1.0], [0.5, 0.5], id="lengths")],
)
def test_rows_that_cannot_be_bet_on_are_refused(scores: list[float], ties: list[float]):
    with pytest.raises(InvalidInput):
        advance(start(np.zeros(3), [0.5]), np.array(scores), np.array(ties))


def test_a_shift_is_found_and_stays_found_until_it_is_acknowledged():
    rng = np.random.default_rng(4)
    state, _ = advance(new(rng, 1000), rng.normal(size=500), rng.uniform(size=500))
    assert not is_due(state, 450_000)

    state, path = advance(state, rng.normal(0.5, 1, size=1500), rng.uniform(size=1500))

    assert has_ever(state, 0.01)
    assert is_due(state, 450_000)
    assert np.argmax(path.log_recurring >= np.log(450_000)) < 1000
    after = acknowledged(state)
    assert not is_due(after, 450_000)
    assert after.log_evidence == state.log_evidence
    assert has_ever(after, 0.01)


def test_overwhelming_evidence_stays_a_number():
    rng = np.random.default_rng(7)
    state, path = advance(new(rng, 20_000), np.full(6000, 9.0), rng.uniform(size=6000))

    assert np.isfinite(path.log_evidence).all()
    assert np.isfinite(path.log_recurring).all()
    assert state.log_recurring > 700


@pytest.mark.slow
def test_false_alarms_of_a_life_and_of_a_quarter_are_as_promised(in_full: bool):
    rng = np.random.default_rng(8)
    lives, rows, alpha, mean_rows = (2000 if in_full else 120), 3000, 0.1, 3000

    ever, due = 0, 0
    for _ in range(lives):
        state, path = advance(new(rng, 300), rng.normal(size=rows), rng.uniform(size=rows))
        ever += has_ever(state, alpha)
        due += bool((path.log_recurring >= np.log(mean_rows)).any())

    assert ever / lives <= alpha
    # A mean of at least A rows to the first alarm; if it came at random, 1 − 1/e of lives of A rows would see one.
    assert due / lives <= 1 - np.exp(-1)
