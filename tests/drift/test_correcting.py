"""From many p-values to few false pages: evidence after correction, and an effect that matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from mlserve.drift.correcting import (
    Budget,
    Levels,
    PageState,
    after,
    check_p_value,
    corrected,
    levels_of,
    page_state,
)
from mlserve.drift.judgements import Judgement, Layer

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LEVELS = Levels(0.01, 0.005, 0.01)


def _test(p_value: float, effect: float, name: str = "age", layer: Layer = Layer.FEATURE) -> Judgement:
    return Judgement(layer, name, "ks", p_value=p_value, effect=effect, threshold=0.1)


@pytest.mark.parametrize(
    ("p_value", "effect", "drift", "severity"),
    [
        pytest.param(1e-6, 0.2, True, "warn", id="sure and large"),
        pytest.param(1e-6, 0.6, True, "critical", id="sure and five times too large"),
        pytest.param(1e-6, 0.09, False, "none", id="sure and too small to matter"),
        pytest.param(0.2, 0.9, False, "none", id="large and perhaps chance"),
    ],
)
def test_a_feature_alerts_iff_it_is_sure_and_large(p_value: float, effect: float, drift: bool, severity: str) -> None:
    (found,) = corrected([_test(p_value, effect)], LEVELS, "bh")

    assert (found.drift, found.severity.word) == (drift, severity)


def test_a_p_value_is_adjusted_for_all_that_were_asked() -> None:
    tests = [_test(0.002, 0.2, "age"), *(_test(0.9, 0.2, f"x{n}") for n in range(9))]

    by_correction = {how: corrected(tests, LEVELS, how)[0] for how in ("none", "bonferroni")}  # type: ignore[arg-type]

    assert by_correction["none"].drift is True
    assert by_correction["bonferroni"].adjusted_p_value == pytest.approx(0.02)
    assert by_correction["bonferroni"].drift is False


def test_a_feature_that_hardly_matters_pages_nobody() -> None:
    found = corrected([_test(1e-9, 5.0, "age")], LEVELS, "bh", {"age": 0.01, "amount": 1.0})

    assert (found[0].drift, found[0].severity.word) == (True, "low")


def test_a_test_without_an_answer_stays_none() -> None:
    nothing = Judgement(Layer.FEATURE, "age", "ks", detail="all rows are missing")

    assert corrected([nothing], LEVELS, "bh") == [nothing]


def test_the_check_alerts_iff_its_own_p_value_reaches_the_level() -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        layers = [
            corrected(
                [_test(float(random.random() ** 4), float(random.random() / 5), layer=layer) for _ in range(5)],
                LEVELS,
                "bh",
            )
            for layer in (Layer.FEATURE, Layer.PREDICTION)
        ]
        tests = [one for layer in layers for one in layer]

        assert any(one.drift for one in tests) == (check_p_value(tests) <= LEVELS.check)


@pytest.mark.parametrize("checks_per_day", [1.0, 24.0])
@pytest.mark.parametrize("tolerated", [1.0, 4.0])
def test_of_a_quarter_without_drift_no_more_pages_come_than_are_tolerated(
    tolerated: float, checks_per_day: float
) -> None:
    """Uniform p-values, every one of them large: the mean of 60 quarters, which its error of 3 sigma may exceed."""
    budget = Budget(tolerated, checks_per_day)
    pages = []
    for seed in range(60):
        random, state, seen = np.random.default_rng(seed), page_state(None, budget, NOW), 0
        for check in range(round(91 * checks_per_day)):
            now = NOW + timedelta(days=check / checks_per_day)
            state = page_state(state, budget, now)
            p_value = float(random.random())
            seen += p_value <= levels_of(state, budget).check
            state = after(state, p_value, now)
        pages.append(seen)

    assert np.mean(pages) <= tolerated + 3 * np.sqrt(tolerated / 60)


def test_a_true_alarm_makes_the_next_check_keener() -> None:
    state = page_state(None, Budget(), NOW)
    for _ in range(40):
        state = after(state, 1.0, NOW)

    assert levels_of(after(state, 1e-9, NOW), Budget()).check > 1.5 * levels_of(state, Budget()).check


def test_a_new_quarter_and_another_budget_begin_anew_and_keep_the_path() -> None:
    state = after(page_state(None, Budget(), NOW), 0.3, NOW)

    later = page_state(state, Budget(), NOW + timedelta(days=91))
    other = page_state(state, Budget(2.0), NOW)

    assert (later.lord.tests, other.lord.tests) == (0, 0)
    assert later.path == other.path == state.path
    assert msgspec.convert(msgspec.to_builtins(state), PageState) == state
