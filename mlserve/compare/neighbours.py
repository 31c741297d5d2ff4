"""Whether an embedding keeps its neighbours: of each row's nearest rows, those that stay among the nearest."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]

MAX_ROWS = 4096
"""Every row is compared with every other; of more, so many evenly spaced ones are taken."""

CHUNK_VALUES = 4 << 20
_TIE = 1e-6
"""Cosines this close are as near as each other, as those of equal rows are."""


def neighbours_kept(given: Array, expected: Array, count: int) -> Array:
    """For each row, the share of its ``count`` nearest rows by ``given`` that are as near by ``expected``.

    Both are embeddings of the same rows, (rows, width); near is a large cosine, and no row is its own neighbour.
    Where there are fewer other rows than ``count``, all are looked at but the farthest. Raises InvalidInput for fewer
    than three rows.

    >>> angles = np.array([0.0, 0.1, 1.0, 1.2])
    >>> circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> neighbours_kept(circle, circle, 1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if len(given) < 3:
        raise InvalidInput(f"neighbours needs three rows or more, and there are {len(given)}")
    if len(given) > MAX_ROWS:
        index = np.arange(MAX_ROWS) * len(given) // MAX_ROWS
        given, expected = given[index], expected[index]
    rows = len(given)
    count = min(count, rows - 2)
    one, other = _unit(given), _unit(expected)
    step = max(1, CHUNK_VALUES // rows)
    return np.concatenate([_kept(one, other, slice(at, min(at + step, rows)), count) for at in range(0, rows, step)])


def _kept(given: Array, expected: Array, chunk: slice, count: int) -> Array:
    near, wanted = (_cosines(side, chunk) for side in (given, expected))
    nearest = np.argpartition(-near, count - 1, axis=1)[:, :count]
    bound = -np.partition(-wanted, count - 1, axis=1)[:, count - 1]
    return np.asarray((np.take_along_axis(wanted, nearest, axis=1) >= bound[:, np.newaxis] - _TIE).mean(axis=1))


def _cosines(rows: Array, chunk: slice) -> Array:
    cosines = rows[chunk] @ rows.T
    cosines[np.arange(len(cosines)), np.arange(chunk.start, chunk.stop)] = -np.inf
    return np.asarray(cosines)


def _unit(rows: Array) -> Array:
    """Rows of length 1; NaN becomes 0, which is near to nothing."""
    flat = np.nan_to_num(rows.reshape(len(rows), -1))
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, lengths, where=lengths > 0, out=np.zeros_like(flat))
