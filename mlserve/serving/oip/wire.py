"""The JSON of an inference request as types, so that one typed decode checks and converts nearly every request.

A decoder is chosen by what the inputs of a version hold. It takes no unknown field and no nested data: what it refuses
goes to ``leniently.py``, which either reads it or says precisely what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from mlserve.core.dtypes import DType

Parameter = bool | int | float | str
Length = Annotated[int, msgspec.Meta(ge=0)]
T = TypeVar("T")


class WireOutput(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An output that the request asks for."""

    name: str
    parameters: dict[str, Parameter] | None = None


class WireInput(msgspec.Struct, Generic[T], gc=False, forbid_unknown_fields=True):
    """An input; ``data`` is None when its values come as a blob."""

    name: str
    shape: list[Length]
    datatype: str
    data: T | None = None
    parameters: dict[str, Parameter] | None = None


class WireRequest(msgspec.Struct, Generic[T], gc=False, forbid_unknown_fields=True):
    """A whole request."""

    inputs: list[WireInput[T]]
    id: str | None = None
    outputs: list[WireOutput] | None = None
    parameters: dict[str, Parameter] | None = None


class LooseInput(msgspec.Struct, gc=False):
    """An input whose ``data`` may be anything, still to be looked at; unknown fields are ignored."""

    name: str
    shape: list[Length]
    datatype: str
    data: Any = None
    parameters: dict[str, Parameter] | None = None


class LooseOutput(msgspec.Struct, gc=False):
    """As ``WireOutput``; unknown fields are ignored."""

    name: str
    parameters: dict[str, Parameter] | None = None


class LooseRequest(msgspec.Struct, gc=False):
    """As ``WireRequest``; unknown fields are ignored."""

    inputs: list[LooseInput]
    id: str | None = None
    outputs: list[LooseOutput] | None = None
    parameters: dict[str, Parameter] | None = None


AnyRequest = WireRequest[list[Any]] | LooseRequest
AnyInput = WireInput[list[Any]] | LooseInput
AnyOutput = WireOutput | LooseOutput

_BOUNDS = {
    DType.INT8: msgspec.Meta(ge=-(1 << 7), le=(1 << 7) - 1),
    DType.INT16: msgspec.Meta(ge=-(1 << 15), le=(1 << 15) - 1),
    DType.INT32: msgspec.Meta(ge=-(1 << 31), le=(1 << 31) - 1),
    DType.INT64: msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1),
    DType.UINT8: msgspec.Meta(ge=0, le=(1 << 8) - 1),
    DType.UINT16: msgspec.Meta(ge=0, le=(1 << 16) - 1),
    DType.UINT32: msgspec.Meta(ge=0, le=(1 << 32) - 1),
    # msgspec knows no bound beyond 64 signed bits; the engine looks at the upper one.
    DType.UINT64: msgspec.Meta(ge=0),
}


def element(dtype: DType) -> Any:
    """The type of one JSON element of a tensor of ``dtype``."""
    if dtype is DType.STRING:
        return str
    if dtype is DType.BOOL:
        return bool
    if dtype in _BOUNDS:
        return Annotated[int, _BOUNDS[dtype]]
    return float


def request_decoder(dtypes: Iterable[DType]) -> msgspec.json.Decoder[WireRequest[list[Any]]]:
    """The typed decoder for a version whose inputs are of ``dtypes``; of several kinds, ``data`` is checked later."""
    kinds = {element(dtype) for dtype in dtypes}
    return _decoder(kinds.pop() if len(kinds) == 1 else Any)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[WireRequest[list[Any]]]:
    return msgspec.json.Decoder(WireRequest[list[kind]])
