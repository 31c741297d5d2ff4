"""The front and the best of measured models, on figures made up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.quantize.pareto import NOISE, Standing, best, front

RATIO = st.floats(0.5, 8)
STANDINGS = st.lists(
    st.builds(Standing, st.uuids().map(str), RATIO, RATIO, st.floats(0, 1), st.booleans()), min_size=1, max_size=8
)


def standing(name: str, size: float, speed: float, drop: float | None = 0.0, passed: bool = True) -> Standing:
    return Standing(name, size, speed, drop, passed)


@given(STANDINGS)
def test_nothing_on_the_front_is_beaten_and_everything_else_is(models: list[Standing]) -> None:
    kept = set(front(models))

    def beaten(one: Standing) -> bool:
        return any(
            other.size_ratio >= one.size_ratio
            and other.speedup >= one.speedup
            and (other.drop or 0) <= (one.drop or 0)
            and (other.size_ratio, other.speedup, other.drop) != (one.size_ratio, one.speedup, one.drop)
            for other in models
        )

    assert kept == {one.name for one in models if not beaten(one)}


@given(STANDINGS)
def test_the_best_passed_and_gains_as_much_as_any_that_did(models: list[Standing]) -> None:
    passed = [one for one in models if one.passed]
    name = best(models)

    if not passed:
        assert name is None
        return
    (chosen,) = [one for one in models if one.name == name]
    assert chosen.passed
    assert chosen.gain >= max(one.gain for one in passed) * (1 - NOISE)


@pytest.mark.parametrize(
    ("models", "name"),
    [
        pytest.param([standing("a", 4, 2), standing("b", 2, 2)], "a", id="smaller"),
        pytest.param([standing("a", 4, 1), standing("b", 3, 2)], "b", id="size and time weigh the same"),
        pytest.param(
            [standing("a", 4, 2, 0.1), standing("b", 4, 1.99, 0.0)], "b", id="equals: the one that falls less"
        ),
        pytest.param([standing("a", 4, 2, math.nan), standing("b", 4, 2, 0.5)], "b", id="not a number"),
        pytest.param([standing("a", 9, 9, passed=False), standing("b", 2, 1)], "b", id="only what passed"),
        pytest.param([standing("a", 9, 9, passed=False)], None, id="none passed"),
    ],
)
def test_the_best_is_what_gains_most_among_those_that_passed(models: list[Standing], name: str | None) -> None:
    assert best(models) == name
