"""A place for every row that is the same in every process, in any order: which rows a bounded sample keeps.

A sample of the rows with the lowest numbers is uniform, and two such samples are one by taking the lowest of both.
Source: Cohen and Kaplan, Summarizing data using bottom-k sketches (2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlserve.compare.pairs import Pairs

Array = np.ndarray[Any, np.dtype[Any]]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_numbers(pairs: Pairs) -> Array:
    """(rows,) pseudo-random uint64 of each row's request id and place in the request; equal for equal ones.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    ids = _id_numbers(pairs.request_ids)
    if int(pairs.rows_each.min(initial=1)) == int(pairs.rows_each.max(initial=1)) == 1 and pairs.first_rows is None:
        return _mixed(ids)
    return _mixed(np.repeat(ids, pairs.rows_each) + row_places(pairs).astype(np.uint64) * _GOLDEN)


def row_places(pairs: Pairs) -> Array:
    """(rows,) the number of each row within its request, from 0; a piece of a request goes on where it was cut."""
    starts = np.cumsum(pairs.rows_each) - pairs.rows_each
    places = np.arange(pairs.rows) - np.repeat(starts, pairs.rows_each)
    return np.asarray(places if pairs.first_rows is None else places + np.repeat(pairs.first_rows, pairs.rows_each))


def _id_numbers(ids: Sequence[str]) -> Array:
    """A multilinear hash of the ids' words of 8 bytes; padding is 0 and adds nothing, whoever else is in the batch.

    Source: Carter and Wegman, Universal classes of hash functions (1979).
    """
    if not len(ids):
        return np.zeros(0, np.uint64)
    words = _words(ids)
    factors = _mixed(np.arange(words.shape[1], dtype=np.uint64)) | np.uint64(1)
    with np.errstate(over="ignore"):
        return np.asarray((words * factors).sum(axis=1, dtype=np.uint64))


def _words(ids: Sequence[str]) -> Array:
    """(ids, words) uint64 of the ids' UTF-8, padded with 0."""
    joined = "".join(ids).encode("utf-8", "surrogatepass")
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    longest = int(lengths.max())
    if longest == int(lengths.min()) and len(joined) == longest * len(ids):
        # ASCII of one length, as ids mostly are, needs no Python for each.
        padded = np.zeros((len(ids), max(8, -(-longest // 8) * 8)), np.uint8)
        padded[:, :longest] = np.frombuffer(joined, np.uint8).reshape(len(ids), longest)
        return padded.view("<u8")
    encoded = [text.encode("utf-8", "surrogatepass") for text in ids]
    width = max(8, -(-max(map(len, encoded)) // 8) * 8)
    return np.array(encoded, f"S{width}").view("<u8").reshape(len(ids), -1)


def _mixed(numbers: Array) -> Array:
    with np.errstate(over="ignore"):
        z = numbers + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
        return np.asarray(z ^ (z >> np.uint64(31)))
