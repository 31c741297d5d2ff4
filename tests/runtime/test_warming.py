"""Every size that can come is run first, as long as the time lasts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.runtime.lattice import lattice_of
from mlserve.runtime.warming import sizes_in_order, warm_up


@given(st.integers(1, 256))
def test_no_size_is_left_out(max_rows: int) -> None:
    assert sorted(sizes_in_order(max_rows)) == list(range(1, max_rows + 1))
    assert sorted(sizes_in_order(max_rows, lattice_of(max_rows))) == list(lattice_of(max_rows))


def test_lone_requests_and_full_batches_come_first_then_powers_of_two() -> None:
    assert sizes_in_order(9)[:5] == [1, 9, 2, 4, 8]


@pytest.mark.parametrize(
    ("budget_s", "done"),
    [
        pytest.param(100.0, (1, 4, 2, 3), id="enough"),
        pytest.param(4.5, (1, 4), id="some"),
        pytest.param(0.0, (1,), id="none"),
    ],
)
def test_sizes_are_run_in_order_until_the_time_is_up(budget_s: float, done: tuple[int, ...]) -> None:
    ran: list[int] = []

    warmed = warm_up(ran.append, sizes_in_order(4), budget_s=budget_s, clock=lambda: float(sum(ran)))

    assert warmed == tuple(ran) == done
