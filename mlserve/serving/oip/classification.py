"""An output as its k best classes, each a text ``value:index`` or ``value:index:label``.

Source: Triton's classification extension. Values are the shortest text that reads back to the same number; of equal
values the lower index comes first, and NaN comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.errors import InvalidInput
from mlserve.serving.oip.wire import Parameter

Array = np.ndarray[Any, Any]


def read_count(parameters: Mapping[str, Parameter], output: TensorSpec) -> int | None:
    """How many classes of ``output`` are asked for, None for the output itself. Raises InvalidInput."""
    count = parameters.get("classification")
    if count is None:
        return None
    if type(count) is not int or count < 1:
        raise InvalidInput(f"classification of output '{output.name}' is {count!r}, not a number of classes")
    if output.dtype is DType.STRING:
        raise InvalidInput(f"output '{output.name}' holds texts, which have no order to take the best of")
    return count


def best_classes(array: Array, count: int, labels: tuple[str, ...] = (), *, is_batched: bool) -> Array:
    """The best ``count`` classes, best first, as an object array of ``str``.

    Of [rows, …] where ``is_batched``: [rows, count], each row's remaining axes taken flat; else [count] of all values.
    Where there are fewer classes, all of them come.

    >>> best_classes(np.float32([[0.25, 0.5, 0.25]]), 2, ("a", "b", "c"), is_batched=True).tolist()
    [['0.5:1:b', '0.25:0:a']]
    """
    if array.dtype.kind == "V":
        array = array.astype(np.float32)  # BF16, which float32 holds exactly
    rows = array.reshape(len(array), prod(array.shape[1:])) if is_batched else array.reshape(1, -1)
    # Of numbers in ascending order NaN is last, also of these.
    order = np.argsort(_negated(rows), axis=1, kind="stable")[:, : min(count, rows.shape[1])]
    best = np.empty(order.shape, object)
    for row, picked in enumerate(order.tolist()):
        best[row] = [_text(rows[row, index], index, labels) for index in picked]
    return best if is_batched else best.reshape(-1)


def _negated(rows: Array) -> Array:
    """Numbers whose ascending order is the descending one of ``rows``."""
    if rows.dtype.kind == "f":
        return -rows
    # The complement reverses the order of integers, and has no overflow at the lowest one.
    return ~rows if rows.dtype.kind in "iu" else ~rows.astype(np.uint8)


def _text(value: Any, index: int, labels: tuple[str, ...]) -> str:
    number = str(int(value)) if isinstance(value, np.bool_) else str(value)
    return f"{number}:{index}:{labels[index]}" if index < len(labels) else f"{number}:{index}"
