"""Rows as 64-bit hashes, vectorised: whose content is equal, and which are drawn for a sample."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from mlserve.rows.tables import Array

_STEP = np.uint64(0x9E3779B97F4A7C15)


def priorities(start: int, rows: int, seed: int = 0) -> Array:
    """For rows ``start`` onwards a number each, (rows,) uint64, as good as random and the same in every run.

    The rows with the smallest numbers are a simple random sample, whatever pieces the rows came in.

    >>> bool((priorities(0, 4)[2:] == priorities(2, 2)).all())
    True
    """
    counted = np.arange(start, start + rows, dtype=np.uint64)
    return mixed(mixed(counted) ^ mixed(np.full(1, seed, np.uint64) + _STEP))


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


def mixed(numbers: Array) -> Array:
    """Each 64-bit number with its bits stirred; one to one. Source: Steele et al., SplitMix (2014), the finaliser."""
    # In place, for a block of rows is read from memory six times otherwise.
    z = numbers + _STEP
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def _of_values(values: Array) -> Array:
    if values.dtype.kind in "OSU":
        encoded = pa.array([None if value is None else str(value) for value in values.tolist()], pa.string())
        encoded = encoded.dictionary_encode()
        known = [_of_text(text) for text in encoded.dictionary.to_pylist()]
        table = np.array([*known, 1], np.uint64)
        index: Array = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        return table[index]
    if values.dtype.kind in "mM":
        return mixed(values.astype(np.int64).view(np.uint64))
    numbers = values.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    bits = numbers.view(np.uint64)
    if np.isnan(numbers).any():
        bits = np.where(np.isnan(numbers), np.float64(np.nan).view(np.uint64), bits)
    return mixed(bits)


def _of_text(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
