"""Bets that a mean has risen: they gain when it has, and reach an alarm by chance as rarely as they promise."""

from __future__ import annotations

import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.stats.e_values import (
    RisingState,
    acknowledged,
    advance,
    e_benjamini_hochberg,
    log_e_value,
)


def test_a_stream_in_pieces_is_the_stream_in_one() -> None:
    random = np.random.default_rng(0)
    values, places = (random.random(5000) < 0.15).astype(float), np.arange(5000)
    whole, path = advance(RisingState(0.12), values, places)

    state = RisingState(0.12)
    for start in range(0, 5000, 333):
        state, part = advance(state, values[start : start + 333], places[start : start + 333])

    # Sums of five thousand logarithms in two orders.
    assert state.log_recurring == pytest.approx(whole.log_recurring, abs=1e-8)
    assert state.log_since == pytest.approx(whole.log_since, abs=1e-8)
    assert (state.since, state.rows) == (whole.since, 5000)
    assert part[-1] == pytest.approx(path[-1], abs=1e-8)


def test_evidence_is_that_of_the_recurrence_row_by_row() -> None:
    values = np.random.default_rng(1).random(60)

    _, path = advance(RisingState(0.4), values, np.arange(60))

    sums = [0.0] * 6
    for value in values:
        sums = [
            (1 + r) * (1 + g / 0.4 * (value - 0.4))
            for r, g in zip(sums, (0.01, 0.02, 0.05, 0.1, 0.2, 0.4), strict=True)
        ]
    assert np.exp(path[-1]) == pytest.approx(np.mean(sums), rel=1e-9)


def test_a_rise_is_dated_to_where_it_began() -> None:
    random = np.random.default_rng(2)
    values = np.concatenate([random.random(15_000) < 0.1, random.random(3000) < 0.18]).astype(float)

    state, path = advance(RisingState(0.12), values, np.arange(18_000))

    assert state.log_evidence > np.log(100_000)
    assert (path[:15_000] < np.log(100_000)).all()
    # Within what one standard deviation of a rise of 0.08 takes to be told from chance.
    assert state.since == pytest.approx(15_000, abs=200)


def test_false_alarms_are_as_far_apart_as_asked() -> None:
    random = np.random.default_rng(3)
    alarms, rows = 0, 0
    for _ in range(60):
        _, path = advance(RisingState(0.1), (random.random(2000) < 0.1).astype(float), np.arange(2000))
        first = np.flatnonzero(path >= np.log(5000))
        alarms, rows = alarms + bool(len(first)), rows + (int(first[0]) if len(first) else 2000)

    # At most one in 5,000 rows; 24 are expected of 120,000, and 40 have a chance of 1 in 1,000.
    assert alarms / rows <= 40 / 120_000


def test_an_e_value_exceeds_twenty_by_chance_once_in_twenty_at_most() -> None:
    random = np.random.default_rng(4)

    exceeding = sum(log_e_value((random.random(300) < 0.2).astype(float), 0.2) > np.log(20) for _ in range(400))

    assert exceeding <= 20


def test_a_dealt_with_alarm_begins_anew() -> None:
    state, _ = advance(RisingState(0.1), np.ones(50), np.arange(50))

    after = acknowledged(state)

    assert state.log_evidence > 10
    assert (after.log_evidence < -600, after.since, after.rows) == (True, None, 50)


def test_rejections_are_those_of_the_largest_that_suffices() -> None:
    # 60, 30 and 20 are wanted at the ranks 1, 2 and 3: only the last is reached, and carries the others.
    assert e_benjamini_hochberg(np.log([25.0, 40.0, 21.0]), 0.05).all()
    assert not e_benjamini_hochberg(np.log([19.0, 19.0, 19.0]), 0.05).any()


@pytest.mark.parametrize("values", [[1.5], [-0.1], [np.nan]])
def test_values_outside_are_refused(values: list[float]) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        log_e_value(np.array(values), 0.5)


def test_no_limit_is_no_bet() -> None:
    with pytest.raises(InvalidInput, match="nothing to bet against"):
        log_e_value(np.ones(3), 0.0)
