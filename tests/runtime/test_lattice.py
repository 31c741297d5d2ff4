"""The sizes that a device runs, and how rows come to have one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.runtime.lattice import lattice_of, point_of, to_point

ROWS = st.integers(1, 300)


@given(ROWS, st.lists(ROWS, max_size=4))
def test_every_number_of_rows_up_to_the_largest_has_a_size_and_none_is_larger(max_rows: int, some: list[int]) -> None:
    lattice = lattice_of(max_rows, some)

    assert lattice == tuple(sorted(set(lattice)))
    assert lattice[-1] == max_rows
    assert set(lattice) >= {rows for rows in some if rows <= max_rows}
    for rows in range(1, max_rows + 1):
        point = point_of(rows, lattice)
        assert point is not None
        assert rows <= point < 2 * rows or point == 1
    assert point_of(max_rows + 1, lattice) is None


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_filled_up_rows_are_copies_of_one_that_was_given(rows: int) -> None:
    given_rows = np.arange(1, 1 + 2 * rows, dtype=np.int64).reshape(rows, 2)

    filled = to_point({"x": given_rows}, rows, 4)["x"]

    assert filled.shape == (4, 2)
    np.testing.assert_array_equal(filled[:rows], given_rows)
    assert all(row.tolist() == given_rows[0].tolist() for row in filled[rows:])
