"""64-bit keys of requests, rows and groups: alike on every machine and in every release, vectorised.

What is sampled by such a key is the same sample wherever it is taken, in whatever order, in however many parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_CHARACTERS = 64
"""A longer text is hashed by itself first: one of a batch would widen all."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(keys: Array) -> Array:
    """``keys``, uint64 of any shape, spread evenly over all 64 bits; a bijection. Source: splitmix64 (Vigna).

    >>> int(mixed(np.array([1], np.uint64))[0])
    6238072747940578789
    """
    keys = np.asarray(keys, np.uint64)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(keys ^ (keys >> np.uint64(31)))


def text_keys(texts: Sequence[str] | Array) -> Array:
    """A (texts,) uint64 key for each text; texts that differ only in zero characters at their end share theirs.

    A sum of code points, each times an odd number of its place's own: zeros beyond a text's end add nothing, so that a
    key does not depend on the width of the array that numpy makes of a batch. Texts that have an Arrow ``column`` are
    read there, where they are ASCII, without a Python string of each.

    >>> bool(text_keys(["b"])[0] == text_keys(["a long one", "b"])[1])
    True
    """
    if not len(texts):
        return np.empty(0, np.uint64)
    column = getattr(texts, "column", None)
    if column is not None and (codes := _codes_in(column)) is not None:
        return _keys(codes)
    longest = max(map(len, texts))
    if longest > _CHARACTERS:
        texts, longest = [_shortened(text) for text in texts], _CHARACTERS
    return _keys(_code_points(texts, _even(longest)))


def value_keys(values: Array) -> Array:
    """A (values,) uint64 key for each value; equal values of one kind have equal keys, whatever their width.

    >>> a, b = value_keys(np.array([7], np.int8)), value_keys(np.array([7], np.int64))
    >>> bool(a[0] == b[0])
    True
    """
    if values.dtype.kind in "bi":
        return mixed(values.astype(np.int64).view(np.uint64) + _GOLDEN)
    if values.dtype.kind == "u":
        return mixed(values.astype(np.uint64) + _GOLDEN)
    if values.dtype.kind == "f":
        # Adding zero makes one of both zeros.
        return mixed((values.astype(np.float64) + 0.0).view(np.uint64) + _GOLDEN)
    texts = [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value) for value in values]
    return text_keys(texts)


def row_keys(request_keys: Array, rows_each: Array, first_rows: Array | None = None) -> Array:
    """A (rows,) uint64 key for each row of requests with these (requests,) keys, by the row's place in its request."""
    counts = np.asarray(rows_each, np.int64)
    ends = np.cumsum(counts)
    places = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    if first_rows is not None:
        places += np.repeat(np.asarray(first_rows, np.int64), counts)
    return mixed(np.repeat(request_keys, counts) + (places.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def uniform(keys: Array) -> Array:
    """``keys`` as float64 between 0 and 1, neither reached."""
    return np.asarray(((keys >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _keys(codes: Array) -> Array:
    # Two code points of 21 bits each are one word.
    words = codes.view(np.uint64)
    return mixed(words @ _FACTORS[: words.shape[1]])


def _even(longest: int) -> int:
    return max(2, longest + longest % 2)


def _codes_in(column: Any) -> Array | None:
    """As ``_code_points``, out of an Arrow array of strings; None where its bytes are no code points, or too many."""
    if str(column.type) != "string" or column.null_count:
        return None
    _, places, content = column.buffers()
    offsets = np.frombuffer(places, np.int32)[column.offset : column.offset + len(column) + 1]
    letters = np.frombuffer(content or b"", np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    if longest > _CHARACTERS or (len(letters) and letters.max() > 127):
        return None
    codes = np.zeros((len(column), _even(longest)), np.uint32)
    if int(lengths.min()) == longest:
        codes[:, :longest] = letters.reshape(len(column), longest)
    else:
        codes[np.arange(codes.shape[1]) < lengths[:, np.newaxis]] = letters
    return codes


def _code_points(texts: Sequence[str] | Array, width: int) -> Array:
    """(texts, width) uint32, zeros behind a text's end; ``width`` is no less than the longest."""
    if min(map(len, texts)) == width:
        # Of one length, as ids mostly are: four times as fast as through numpy's texts.
        joined = "".join(texts).encode("utf-32-le", "surrogatepass")
        return np.frombuffer(joined, np.uint32).reshape(len(texts), width)
    return np.array(texts, dtype=f"U{width}").view(np.uint32).reshape(len(texts), width)


def _shortened(text: str) -> str:
    if len(text) <= _CHARACTERS:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_FACTORS = mixed((np.arange(_CHARACTERS // 2, dtype=np.uint64) + np.uint64(1)) * _GOLDEN) | np.uint64(1)
