"""The sizes of a lattice: few, ascending, and each number of rows has the next one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlserve.runtime.lattice import lattice, size_for

ROWS = st.integers(1, 4096)


@given(ROWS, st.lists(st.integers(1, 8192), max_size=4))
def test_a_lattice_ends_with_the_largest_batch_and_has_what_is_preferred(most: int, preferred: list[int]) -> None:
    sizes = lattice(most, preferred)

    assert list(sizes) == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, most)
    assert {size for size in preferred if size <= most} <= set(sizes)
    assert len(sizes) <= most.bit_length() + 1 + len(preferred)


@given(ROWS, ROWS)
def test_a_batch_is_at_most_doubled(rows: int, most: int) -> None:
    size = size_for(rows, lattice(most))

    assert size is None if rows > most else size is not None and rows <= size < 2 * rows + 1
