"""The few messages of the gRPC inference protocol that a load generator needs, written and read field by field.

Source: grpc_service.proto of the Open Inference Protocol (field numbers), protobuf's encoding (varints, lengths).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlserve.bench.asking import Arrays, blob_of
from mlserve.bench.messages import is_same_blob
from mlserve.core.dtypes import DType, from_oip
from mlserve.core.tensors import Dim, Signature, TensorSpec

INFER = "/inference.GRPCInferenceService/ModelInfer"
METADATA = "/inference.GRPCInferenceService/ModelMetadata"
_BYTES = 2


def infer_request(model: str, version: str, arrays: Arrays, dtypes: Mapping[str, DType]) -> bytes:
    """A ModelInferRequest with raw contents."""
    tensors = [
        _field(1, name.encode()) + _field(2, dtypes[name].served.encode()) + _packed(3, array.shape)
        for name, array in arrays.items()
    ]
    inputs = b"".join(_field(5, tensor) for tensor in tensors)
    raw = b"".join(_field(7, blob_of(array)) for array in arrays.values())
    return model_request(model, version) + inputs + raw


def model_request(model: str, version: str) -> bytes:
    """A request that only names a model: ModelMetadataRequest, or the beginning of a ModelInferRequest."""
    return _field(1, model.encode()) + (_field(2, version.encode()) if version else b"")


def signature_of(metadata: bytes) -> tuple[Signature, str | None]:
    """What a ModelMetadataResponse says the model takes and gives, and the digest among its properties, if any."""
    sides: dict[int, list[TensorSpec]] = {4: [], 5: []}
    digest = None
    for number, value in _fields(metadata):
        if number in sides:
            sides[number].append(_spec(value))
        elif number == 6:
            entry = dict(_fields(value))
            digest = entry[2].decode() if entry.get(1) == b"digest" and entry.get(2) else digest
    return Signature(tuple(sides[4]), tuple(sides[5])), digest


def is_same_response(expected: bytes, actual: bytes) -> bool:
    """Whether two ModelInferResponses say the same but for rounding."""
    one, other = list(_fields(expected)), list(_fields(actual))
    if [number for number, _ in one] != [number for number, _ in other]:
        return False
    datatypes = [dict(_fields(value))[2].decode() for number, value in one if number == 5]
    at = 0
    for (number, value), (_, found) in zip(one, other, strict=True):
        if number == 6:
            if at >= len(datatypes) or not is_same_blob(datatypes[at], value, found):
                return False
            at += 1
        elif value != found:
            return False
    return True


def _spec(tensor: bytes) -> TensorSpec:
    name, datatype, lengths = "", "", list[int]()
    for number, value in _fields(tensor):
        if number == 1:
            name = value.decode()
        elif number == 2:
            datatype = value.decode()
        elif number == 3:
            lengths += _integers(value)
    dims: tuple[Dim, ...] = tuple(
        ("batch" if axis == 0 else None) if length < 0 else length for axis, length in enumerate(lengths)
    )
    return TensorSpec(name, from_oip(datatype), dims)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Each field's number and its bytes; numbers come as bytes too, of a varint as it was written."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        start = at
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, start = _varint(message, at)
                at = start + size
            case 5:
                at += 4
            case kind:
                raise ValueError(f"wire type {kind}")
        yield tag >> 3, message[start:at]


def _integers(content: bytes) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value - (1 << 64) if value >= 1 << 63 else value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _field(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _packed(number: int, integers: tuple[int, ...]) -> bytes:
    return _field(number, b"".join(_encoded(integer & (1 << 64) - 1) for integer in integers))


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
