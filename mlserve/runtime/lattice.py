"""The lattice: the only numbers of rows that a device runs, so that each can be prepared once and kept.

A GPU pays for every new shape: kernels are chosen, memory grows, a graph of launches must be captured, an engine may
even be built again. So batches run at 1, 2, 4, 8, … rows and at the preferred sizes, and what is missing is filled up
with rows that are thrown away. Pure; ``fixed`` runs it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def lattice_of(max_rows: int, preferred: Sequence[int] = ()) -> tuple[int, ...]:
    """The sizes of a version that takes ``max_rows`` a run, in order; the last is ``max_rows``.

    >>> lattice_of(24, (6, 48))
    (1, 2, 4, 6, 8, 16, 24)
    """
    powers = (1 << power for power in range(max_rows.bit_length()))
    return tuple(sorted({*powers, max_rows, *(rows for rows in preferred if rows <= max_rows)}))


def point_of(rows: int, lattice: Sequence[int]) -> int | None:
    """The smallest size of ``lattice`` that takes ``rows``; None where none does.

    >>> point_of(5, (1, 2, 4, 8)), point_of(9, (1, 2, 4, 8))
    (8, None)
    """
    at = bisect_left(lattice, rows)
    return lattice[at] if at < len(lattice) else None


def to_point(inputs: Mapping[str, Array], rows: int, point: int) -> dict[str, Array]:
    """``inputs`` of ``rows`` rows with the first row repeated behind them, so that there are ``point``.

    A row that was given is one that the model takes; zeros might be none.
    """
    if rows == point:
        return dict(inputs)
    return {name: np.concatenate([array, np.repeat(array[:1], point - rows, axis=0)]) for name, array in inputs.items()}
