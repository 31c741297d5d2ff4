"""Numbers → JSON text, for all rows of a batch at once; each answer then takes the text of its own rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson

from mlserve.core.dtypes import DType
from mlserve.serving.seam import BatchOutputs

_TOKENS = {math.inf: b"Infinity", -math.inf: b"-Infinity"}


def row_texts(batch: BatchOutputs, name: str, dtype: DType) -> list[bytes]:
    """The elements of each row of an output, separated by commas, without brackets: one text a row, made once a batch.

    Floats are the shortest text that reads back to the same float of their own width; what is not finite is a bare
    NaN, Infinity or -Infinity, as Triton writes it.
    """
    key = ("json", name)
    texts: list[bytes] | None = batch.cache.get(key)
    if texts is None:
        array = batch.arrays[name]
        rows = array.shape[0]
        texts = batch.cache[key] = _rows(array.reshape(rows, -1) if array.size else array.reshape(rows, 0), dtype)
    return texts


def joined(rows: list[bytes]) -> bytes:
    """The text of several rows. A row's text is empty only where no row has elements.

    >>> joined([b"1,2", b"3,4"]), joined([b"", b""])
    (b'1,2,3,4', b'')
    """
    return b",".join(rows) if rows and rows[0] else b""


def whole_text(batch: BatchOutputs, name: str, dtype: DType) -> bytes:
    """All elements of an output, separated by commas, without brackets."""
    return array_text(batch.arrays[name], dtype)


def array_text(array: np.ndarray[Any, Any], dtype: DType) -> bytes:
    """All elements of ``array``, separated by commas, without brackets."""
    (text,) = _rows(array.reshape(1, -1), dtype)
    return text


def _rows(array: np.ndarray[Any, Any], dtype: DType) -> list[bytes]:
    if not len(array):
        return []
    if dtype is DType.STRING:
        return [orjson.dumps([_text(value) for value in row])[1:-1] for row in array.tolist()]
    if dtype is DType.BFLOAT16:
        # float32 holds every bfloat16; its shortest text may be longer than needed, and reads back exactly.
        array = array.astype(np.float32)
    text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    texts = text[2:-2].split(b"],[")
    if dtype.is_float and b"null" in text:
        return [_with_tokens(part, row) if b"null" in part else part for part, row in zip(texts, array, strict=True)]
    return texts


def _with_tokens(text: bytes, row: np.ndarray[Any, Any]) -> bytes:
    values = (float(value) for value in row)
    return b",".join(
        _TOKENS.get(value, b"NaN") if part == b"null" else part
        for part, value in zip(text.split(b","), values, strict=True)
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
