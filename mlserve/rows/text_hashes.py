"""64-bit hashes of many texts at once, without a step of Python for each.

A sum over the bytes of (byte + 1) times a random odd number for its place, modulo 2^64: two texts have the same hash
with a chance of about 2^-56 where the numbers are not known to whoever chose the texts. Source: multilinear hashing,
Lemire and Kaser, "Strongly universal string hashing is fast" (2014); the numbers are those of splitmix64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]

STABLE = 0x6D6C7365
"""A seed for hashes that are kept."""

_CHUNK_BYTES = 8 << 20
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashes_of(texts: pa.Array, seed: int = STABLE) -> Array:
    """A uint64 for each of ``texts``, which are strings and none of them null.

    >>> a, b, c = hashes_of(pa.array(["id-1", "id-2", "id-1"])).tolist()
    >>> a == c, a == b, hashes_of(pa.array(["", "a"])).tolist()[0]
    (True, False, 0)
    """
    binary = texts.cast(pa.large_binary())
    offsets = np.frombuffer(binary.buffers()[1], np.int64)[binary.offset : binary.offset + len(binary) + 1]
    if not len(offsets):
        return np.empty(0, np.uint64)
    data = binary.buffers()[2]
    content = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    hashes = np.zeros(len(binary), np.uint64)
    longest = int(np.diff(offsets).max(initial=0))
    factors = mixed(np.arange(longest, dtype=np.uint64) + np.uint64(seed)) | np.uint64(1)
    first = 0
    while first < len(binary):
        end = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _CHUNK_BYTES, "right")) - 1)
        hashes[first:end] = _summed(content, offsets[first : end + 1], factors)
        first = end
    return hashes


def _summed(content: Array, offsets: Array, factors: Array) -> Array:
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0]
    flat = content[offsets[0] : offsets[-1]].astype(np.uint64) + np.uint64(1)
    flat *= factors[np.arange(len(flat)) - np.repeat(starts, lengths)]
    sums = np.zeros(len(lengths), np.uint64)
    has_any = lengths > 0
    if has_any.any():
        sums[has_any] = np.add.reduceat(flat, starts[has_any])
    return sums


def mixed(numbers: Array) -> Array:
    """Each uint64 as another that shows no trace of it: splitmix64's output function, after one of its steps.

    >>> hex(int(mixed(np.zeros(1, np.uint64))[0]))
    '0xe220a8397b1dcdaf'
    """
    mixing = numbers + _GOLDEN
    mixing = (mixing ^ (mixing >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixing = (mixing ^ (mixing >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    last: Array = mixing ^ (mixing >> np.uint64(31))
    return last
