"""Requests that the typed decoder does not take: large ones, nested data, bare NaN and Infinity, unknown fields, and
wrong ones, of which the error then says what is wrong.

Numbers of a large request go through simdjson's array buffer, which makes no Python object for each; anything that it
does not take either is read by Python's own parser, the one that knows the bare tokens NaN, Infinity and -Infinity.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from math import isinf
from operator import mul
from typing import Any

import msgspec
import numpy as np
import simdjson

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.serving.oip.nesting import check_depth
from mlserve.serving.oip.plans import InputPlan, Plan
from mlserve.serving.oip.slices import Span, lift_lists, read_slices
from mlserve.serving.oip.wire import LooseRequest

LARGE_BYTES = 32 << 10
"""From here on simdjson's buffer is quicker than typed decoding into Python numbers."""

_SHOWN = 40
_BEYOND_FLOATS = (1 << 1024) - (1 << 970)
"""The least integer that rounds to no 64-bit float."""


def read_request(text: bytes, max_depth: int) -> LooseRequest:
    """The request in ``text``, its data still as sent. Raises InvalidInput with the place of what is wrong."""
    check_depth(text, max_depth)
    try:
        document = json.loads(text.decode("utf-8"))
        request = msgspec.convert(document, LooseRequest)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidInput("the JSON nests too deep") from error
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not an inference request: {_sentence(error)}") from error
    except ValueError as error:  # also integers of thousands of digits, which Python refuses to read
        raise InvalidInput(f"the body is not JSON: {_sentence(error)}") from error
    if any(_has_infinity(item.data) for item in request.inputs):
        # Either the token, which is welcome, or a number so large that it was read as the same thing.
        json.loads(text, parse_float=_finite)
    if request.id is not None and not is_text(request.id):
        raise InvalidInput("the id is no Unicode text")
    return request


def read_json(text: bytes, max_depth: int) -> Any:
    """Any JSON document as Python values, bare NaN and Infinity among them. Raises InvalidInput."""
    check_depth(text, max_depth)
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(text.decode("utf-8"), parse_float=_finite)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidInput("the JSON nests too deep") from error
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {_sentence(error)}") from error


def try_read_large(text: bytes, plan: Plan, max_depth: int) -> LooseRequest | None:
    """The request in ``text`` with its data as arrays, or None where the plain way has to decide.

    Raises InvalidInput only for nesting that is too deep.
    """
    rest, spans = lift_lists(text)
    check_depth(rest, max_depth)
    try:
        document: Any = simdjson.Parser().parse(rest)
        names = _names(document)
        fields = {name: _plain(document[name]) for name in names if name != "inputs"}
        inputs = [_large_input(item, plan, text, spans) for item in document["inputs"]]
        # Exactly the brackets of data that nest as their shapes say: as_buffer would flatten anything.
        brackets = 1 + ("outputs" in fields) + sum(1 + allowed for _, allowed in inputs)
        if spans or rest.count(b"[") != brackets:
            return None
        return msgspec.convert(fields | {"inputs": [item for item, _ in inputs]}, LooseRequest)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        # simdjson raises these for every kind of text it does not take; msgspec's errors are ValueErrors.
        return None


def _names(fields: Any) -> list[str]:
    names = list(fields.keys())
    if len(set(names)) != len(names):
        raise ValueError("a field comes twice")
    return names


def _large_input(item: Any, plan: Plan, text: bytes, spans: dict[int, Span]) -> tuple[dict[str, Any], int]:
    """An input with its data as an array, and the opening brackets that its data may have.

    Data that was lifted from ``text`` takes its span out of ``spans``.
    """
    names = _names(item)
    fields = {name: _plain(item[name]) for name in names if name != "data"}
    if "data" not in names:
        return fields, 0
    data, shape, dtype = item["data"], fields["shape"], plan.inputs[fields["name"]].spec.dtype
    span = spans.pop(data[0], None) if spans and len(data) == 1 and isinstance(data[0], int) else None
    if span is not None:
        fields["data"] = read_slices(text, span, partial(_array, dtype=dtype))
        return fields, 1
    is_nested = len(data) > 0 and isinstance(data[0], simdjson.Array)
    if is_nested and not _nests(data, shape):
        raise ValueError("the nesting differs from the shape")
    fields["data"] = _array(data, dtype)
    return fields, 1 + (sum(accumulate(shape[:-1], mul)) if is_nested else 0)


def _array(data: Any, dtype: DType) -> np.ndarray[Any, Any]:
    if dtype.is_float:
        exact = np.frombuffer(data.as_buffer(of_type="d"), dtype=np.float64)
        with np.errstate(over="ignore"):
            values = exact.astype(dtype.numpy)
        if not np.isfinite(values).all():
            raise ValueError("a number is beyond the range")
        return values
    kind = "u" if dtype is DType.UINT64 else "i"
    whole = np.frombuffer(data.as_buffer(of_type=kind), dtype=np.uint64 if kind == "u" else np.int64)
    limits = np.iinfo(dtype.numpy)
    if whole.size and (int(whole.min()) < limits.min or int(whole.max()) > limits.max):
        raise ValueError("a number is beyond the range")
    return whole.astype(dtype.numpy)


def _nests(data: Any, shape: Sequence[int]) -> bool:
    if not isinstance(data, simdjson.Array) or not shape or len(data) != shape[0]:
        return False
    return len(shape) == 1 or all(_nests(part, shape[1:]) for part in data)


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def flatten(data: Any, shape: Sequence[int], plan: InputPlan) -> list[Any]:
    """``data`` as one flat row-major list of the elements that ``plan`` says; flat as sent, or nested as ``shape``.

    Raises InvalidInput naming the first element or level that does not fit.
    """
    name = plan.spec.name
    if not isinstance(data, list):
        raise InvalidInput(f"data of input '{name}' is {_shown(data)}, not a list")
    flat = data
    if data and isinstance(data[0], list):
        for length in shape[:-1]:
            _check_level(name, flat, length, shape)
            flat = [element for part in flat for element in part]
    if _are_plainly(plan.spec.dtype, flat):
        return list(map(float, flat)) if plan.spec.dtype.is_float else flat
    return [_element(value, index, plan) for index, value in enumerate(flat)]


def _are_plainly(dtype: DType, flat: list[Any]) -> bool:
    """Whether each of ``flat`` is an element of ``dtype`` that only floats have to be made of; False: look at each.

    It takes a thirtieth of the time that looking at each does, and nearly all that is sent is so.
    """
    kinds = set(map(type, flat))
    if dtype is DType.STRING:
        return kinds == {str} and is_text("".join(flat))
    if dtype is DType.BOOL:
        return kinds == {bool}
    if dtype.is_float:
        return kinds == {float} or (
            kinds <= {float, int} and all(abs(value) < _BEYOND_FLOATS for value in flat if type(value) is int)
        )
    limits = np.iinfo(dtype.numpy)
    return kinds == {int} and limits.min <= min(flat) and max(flat) <= limits.max


def _check_level(name: str, level: list[Any], length: int, shape: Sequence[int]) -> None:
    lengths = {len(part) if isinstance(part, list) else -1 for part in level}
    if length == 0 or len(level) % length or len(lengths) != 1 or -1 in lengths:
        raise InvalidInput(f"data of input '{name}' does not nest as its shape {list(shape)} says")


def _element(value: Any, index: int, plan: InputPlan) -> Any:
    dtype = plan.spec.dtype
    kind = type(value)
    if dtype is DType.STRING:
        if kind is str and is_text(value):
            return value
    elif dtype is DType.BOOL:
        if kind is bool or (kind is int and value in (0, 1)):
            return bool(value)
    elif dtype.is_float:
        if kind is float or (kind is int and abs(value) < _BEYOND_FLOATS):
            return float(value)
    elif kind is int or (kind is float and value.is_integer()):
        whole = int(value)
        limits = np.iinfo(dtype.numpy)
        if limits.min <= whole <= limits.max:
            return whole
    raise InvalidInput(f"element {index} of input '{plan.spec.name}' is {_shown(value)}, which is no {plan.datatype}")


def is_text(value: str) -> bool:
    """Whether ``value`` can be written in UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and UTF-8 cannot
        return False
    return True


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise InvalidInput("a number is beyond the range of 64-bit floats")
    return value


def _has_infinity(data: Any) -> bool:
    if isinstance(data, list):
        return any(map(_has_infinity, data))
    return isinstance(data, float) and isinf(data)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _sentence(error: Exception) -> str:
    text = str(error).replace("`", "'")
    return text[:1].lower() + text[1:]
