"""What a rung has learned as bytes, to be kept over a pause or sent between processes; no code travels with it.

MessagePack; a numpy array is an extension of type 1: [type, shape, bytes in row-major order].
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from mlserve.compare.pairs import State
from mlserve.errors import CorruptArtefact, InvalidInput

SCHEMA = "mlserve.comparison/1"

_ARRAY = 1
_TYPES = "biufcSU"


def pack(state: State) -> bytes:
    """``state`` as bytes. Arrays of booleans, numbers or fixed-width text only; other values as ``State`` says.

    >>> unpack(pack({"rows": 2, "scores": np.array([0.5, 1.0])}))["scores"].tolist()
    [0.5, 1.0]
    """
    return msgspec.msgpack.encode({"schema": SCHEMA, "state": state}, enc_hook=_encoded)


def unpack(data: bytes) -> State:
    """The inverse of ``pack``, where tuples have become lists.

    Raises CorruptArtefact for bytes that are no such state, InvalidInput for one of a schema that is not known here.
    """
    try:
        found = msgspec.msgpack.decode(data, ext_hook=_decoded)
        schema, state = found["schema"], found["state"]
    except (msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
        raise _corrupt() from error
    if schema != SCHEMA:
        raise InvalidInput(f"the state of the comparison has schema '{schema}', and '{SCHEMA}' can be read here")
    if not isinstance(state, dict):
        raise _corrupt()
    return state


def _corrupt() -> CorruptArtefact:
    return CorruptArtefact("these bytes are not the state of a comparison", hint="start the comparison anew")


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _TYPES:
            raise TypeError(f"arrays of {value.dtype} are not packed")
        parts = (value.dtype.str, list(value.shape), value.tobytes())
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(parts))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not packed")


def _decoded(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"extension {code} is not known")
    name, shape, content = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], bytes])
    dtype = np.dtype(name)
    if dtype.kind not in _TYPES or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("the array is not whole")
    # A view of bytes cannot be written to, and rungs add in place.
    return np.frombuffer(content, dtype=dtype).reshape(shape).copy() if dtype.itemsize else np.zeros(shape, dtype)
