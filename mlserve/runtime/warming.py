"""Every batch size that can come is run before the first request of it does: at load, and so before every swap.

The first run of a size is slow: memory grows, kernels are chosen, on a GPU a graph is captured. Bounded in time, and in
an order that leaves the sizes that matter least for last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence


def sizes_in_order(max_rows: int, lattice: Sequence[int] | None = None) -> list[int]:
    """The sizes to run: those of ``lattice``; without one all up to ``max_rows``, powers of two first.

    Lone requests and full batches are what most runs are, so those come before all others.

    >>> sizes_in_order(6), sizes_in_order(8, (1, 2, 4, 8))
    ([1, 6, 2, 4, 3, 5], [1, 8, 2, 4])
    """
    sizes = range(1, max_rows + 1) if lattice is None else lattice
    first = [1, max_rows]
    powers = [rows for rows in sizes if rows & (rows - 1) == 0]
    return list(dict.fromkeys([*first, *powers, *sizes]))


def warm_up(
    run: Callable[[int], object],
    sizes: Iterable[int],
    *,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, ...]:
    """The sizes that ``run(rows)`` was called with, in order, until ``budget_s`` was over; one at least.

    Raises what ``run`` raises.
    """
    done: list[int] = []
    deadline_s = clock() + budget_s
    for rows in sizes:
        if done and clock() > deadline_s:
            break
        run(rows)
        done.append(rows)
    return tuple(done)
