"""Rows as 64-bit hashes, vectorised: whose content is equal, and which are drawn for a sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mlserve.rows.tables import Array
from mlserve.rows.text_hashes import hashes_of, mixed


def priorities(start: int, rows: int, seed: int = 0) -> Array:
    """For rows ``start`` onwards a number each, (rows,) uint64, as good as random and the same in every run.

    The rows with the smallest numbers are a simple random sample, whatever pieces the rows came in.

    >>> bool((priorities(0, 4)[2:] == priorities(2, 2)).all())
    True
    """
    counted = np.arange(start, start + rows, dtype=np.uint64)
    return mixed(mixed(counted) ^ mixed(np.full(1, seed, np.uint64)))


def row_hashes(columns: Mapping[str, Array]) -> Array:
    """A hash of each row's values over all ``columns``, (rows,) uint64: equal rows have equal ones.

    All NaN are equal, and so are 0.0 and -0.0; a null among texts equals no text.
    """
    total: Array | None = None
    for values in columns.values():
        one = _of_values(values)
        # A rotation in between, so that two equal columns don't cancel out.
        total = one if total is None else mixed((total << np.uint64(1)) ^ (total >> np.uint64(63)) ^ one)
    return np.zeros(0, np.uint64) if total is None else total


def _of_values(values: Array) -> Array:
    if values.dtype.kind in "OSU":
        encoded = pa.array([None if value is None else str(value) for value in values.tolist()], pa.string())
        encoded = encoded.dictionary_encode()
        table = np.append(hashes_of(encoded.dictionary), np.uint64(1))
        index: Array = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
        return table[index]
    if values.dtype.kind in "mM":
        return mixed(values.astype(np.int64).view(np.uint64))
    numbers = values.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    bits = numbers.view(np.uint64)
    if np.isnan(numbers).any():
        bits = np.where(np.isnan(numbers), np.float64(np.nan).view(np.uint64), bits)
    return mixed(bits)
