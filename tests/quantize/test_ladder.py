"""The search over mixed precision on drops made up: what it finds, and what it does when time runs out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.quantize.ladder import Ladder, climb, rank
from mlserve.quantize.layers import Kind, Layer

TABLE = Layer("table", "Gather", "t", 10, 10)
A, B = (Layer(name, "MatMul", f"{name}.w", 10, 10) for name in "ab")
LADDER = Ladder([B, TABLE, A], Kind.INT8_DYNAMIC, (Kind.W8, Kind.FP32))


def kinds(step: int) -> tuple[str, ...]:
    choice = LADDER.choice(step)
    return tuple(str(choice[layer.name]) for layer in (A, B, TABLE))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, ("int8-dynamic", "int8-dynamic", "int8-weights")),
        (1, ("int8-dynamic", "int8-weights", "int8-weights")),
        (2, ("int8-weights", "int8-weights", "int8-weights")),
        (3, ("int8-weights", "fp32", "int8-weights")),
        (4, ("int8-weights", "fp32", "fp32")),
        (5, ("fp32", "fp32", "fp32")),
    ],
)
def test_the_most_sensitive_climb_first_and_a_rung_at_a_time(step: int, expected: tuple[str, ...]) -> None:
    assert kinds(step) == expected


def test_the_last_step_is_the_original() -> None:
    assert len(LADDER.moves) == 5


def test_layers_are_ranked_by_damage_and_the_unknown_stands_in_the_middle() -> None:
    ranked = rank([A, B, TABLE], {"a": 0.1, "b": 0.9})

    assert [layer.name for layer in ranked] == ["b", "table", "a"]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60).map(lambda drops: sorted(drops, reverse=True)), st.floats(0, 1)
)
def test_where_drops_only_fall_the_least_step_within_the_bound_is_found(drops: list[float], bound: float) -> None:
    found = climb(len(drops) - 1, lambda step: drops[step], bound)

    assert found == next((step for step, drop in enumerate(drops) if drop <= bound), None)


def test_few_steps_are_measured() -> None:
    measured: list[int] = []

    climb(1000, lambda step: measured.append(step) or (1.0 if step < 700 else 0.0), 0.5)  # type: ignore[func-returns-value]

    assert len(measured) <= 10


def test_when_time_is_up_the_least_step_that_held_is_given() -> None:
    left = iter([0.0, 0.0, None])

    assert climb(15, lambda _: next(left), 0.1) == 3
    assert climb(15, lambda _: None, 0.1) is None


def test_a_search_may_begin_higher_up() -> None:
    assert climb(10, lambda step: 0.0, 0.1, start=4) == 4
    assert climb(3, lambda step: 0.0, 0.1, start=4) is None
