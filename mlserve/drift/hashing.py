"""Rows as 64-bit hashes, vectorised: whose content is equal, and which are drawn for a sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mlserve.rows.tables import Array
from mlserve.stats.hashing import mixed, text_keys, value_keys

_NULL = np.uint64(1)


def priorities(start: int, rows: int, seed: int = 0) -> Array:
    """For rows ``start`` onwards a number each, (rows,) uint64, as good as random and the same in every run.

    The rows with the smallest numbers are a simple random sample, whatever pieces the rows came in.

    >>> bool((priorities(0, 4)[2:] == priorities(2, 2)).all())
    True
    """
    counted = value_keys(np.arange(start, start + rows, dtype=np.uint64))
    return mixed(counted ^ value_keys(np.full(1, seed, np.uint64)))


def row_hashes(columns: Mapping[str, Array]) -> Array:
    """A hash of each row's values over all ``columns``, (rows,) uint64: equal rows have equal ones.

    All NaN are equal, and so are 0.0 and -0.0; a null among texts equals no text.
    """
    total: Array | None = None
    for values in columns.values():
        one = _of_values(values)
        # A rotation in between, so that two equal columns don't cancel out.
        total = one if total is None else mixed(((total << np.uint64(1)) | (total >> np.uint64(63))) ^ one)
    return np.zeros(0, np.uint64) if total is None else total


def _of_values(values: Array) -> Array:
    if values.dtype.kind in "mM":
        return value_keys(values.astype(np.int64))
    if values.dtype.kind not in "OSU":
        return value_keys(values)
    texts = pa.array([None if value is None else str(value) for value in values.tolist()], pa.string())
    encoded = texts.dictionary_encode()
    table = np.append(text_keys(encoded.dictionary.to_pylist()), _NULL)
    index: Array = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    found: Array = table[index]
    return found
