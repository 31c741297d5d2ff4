"""Tensors as the wire has them: made up from metadata, written as JSON or bytes, and read back from a reply."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from mlserve.bench.conformance.exchange import HEADER_LENGTH, Reply
from mlserve.bench.conformance.verdicts import RuleBroken
from mlserve.core.dtypes import DType, from_oip
from mlserve.errors import MlserveError

FREE_LENGTH = 4
"""What stands for a free dimension other than that of the rows."""
_COARSE = {"FP16": 5e-3, "BF16": 4e-2}


@dataclass(frozen=True, slots=True)
class Meta:
    """A tensor as metadata names it; −1 is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor with its values: numbers as an array, BYTES as an array of ``bytes`` objects."""

    name: str
    datatype: str
    values: np.ndarray[Any, Any]

    @property
    def shape(self) -> list[int]:
        return list(self.values.shape)

    def flat(self) -> list[Any]:
        """The values as JSON has them, in row-major order."""
        return list(_listed(self, self.values.reshape(-1)))

    def nested(self) -> Any:
        """The values as nested lists of the tensor's shape."""
        return _listed(self, self.values)

    def raw(self) -> bytes:
        """The values as the binary extension has them: little-endian; BYTES with a length before each."""
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(value)) + value for value in self.values.reshape(-1))
        return np.ascontiguousarray(self.values).tobytes()

    def is_close(self, other: Tensor) -> bool:
        """Whether both hold the same, up to what the order of additions does to floats."""
        if self.datatype != other.datatype or self.shape != other.shape:
            return False
        if not numpy_type(self.datatype).is_float:
            return bool(np.array_equal(self.values, other.values))
        rtol = _COARSE.get(self.datatype, 1e-4)
        mine, others = self.values.astype(np.float64), other.values.astype(np.float64)
        return bool(np.allclose(mine, others, rtol=rtol, atol=rtol / 10, equal_nan=True))


def numpy_type(datatype: str) -> DType:
    """The element type of a protocol name. Raises RuleBroken for a name that the protocol does not have."""
    try:
        return from_oip(datatype)
    except MlserveError:
        raise RuleBroken(f"'{datatype}' is no datatype of the protocol") from None


def made_up(meta: Meta, rows: int) -> Tensor:
    """Values for ``meta`` with ``rows`` for its first dimension if that is free; rows differ, and are small numbers."""
    shape = [size if size >= 0 else FREE_LENGTH for size in meta.shape]
    if meta.shape and meta.shape[0] < 0:
        shape[0] = rows
    counted = np.arange(prod(shape)).reshape(shape)
    if meta.datatype == "BYTES":
        texts = [f"text {number % 7}".encode() for number in counted.reshape(-1)]
        values = np.empty(len(texts), dtype=object)
        values[:] = texts
        return Tensor(meta.name, meta.datatype, values.reshape(shape))
    dtype = numpy_type(meta.datatype)
    if dtype is DType.BOOL:
        return Tensor(meta.name, meta.datatype, counted % 3 == 0)
    if dtype.is_float:
        return Tensor(meta.name, meta.datatype, ((counted % 9) / 4 - 1).astype(dtype.numpy))
    return Tensor(meta.name, meta.datatype, (counted % 3 + 1).astype(dtype.numpy))


def json_input(tensor: Tensor, **changes: Any) -> dict[str, Any]:
    """An input of a JSON request; ``changes`` replace fields, and None takes one out."""
    fields = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype, "data": tensor.flat()} | changes
    return {name: value for name, value in fields.items() if value is not None}


def json_request(tensors: Sequence[Tensor], **more: Any) -> dict[str, Any]:
    return {"inputs": [json_input(tensor) for tensor in tensors], **more}


def binary_request(tensors: Sequence[Tensor], as_json: Sequence[str] = (), **more: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request whose inputs are bytes behind the JSON, but for those named in ``as_json``."""
    blobs = [tensor.raw() for tensor in tensors if tensor.name not in as_json]
    inputs = [
        json_input(tensor)
        if tensor.name in as_json
        else json_input(tensor, data=None, parameters={"binary_data_size": len(tensor.raw())})
        for tensor in tensors
    ]
    return framed({"inputs": inputs, **more}, b"".join(blobs))


def framed(document: Mapping[str, Any], blobs: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON and bytes behind it, and the headers that say so."""
    head = json.dumps(document).encode()
    return head + blobs, {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}


def split_reply(reply: Reply) -> tuple[dict[str, Any], bytes]:
    """The JSON of a 200 and the bytes behind it. Raises RuleBroken."""
    reply.expect(200)
    length = reply.headers.get(HEADER_LENGTH)
    if length is None:
        return reply.document(), b""
    if not length.isdigit() or int(length) > len(reply.body):
        raise RuleBroken(f"Inference-Header-Content-Length is '{length}' for a body of {len(reply.body)} bytes")
    return replace(reply, body=reply.body[: int(length)]).document(), reply.body[int(length) :]


def outputs_of(reply: Reply) -> list[Tensor]:
    """The outputs of an answer, JSON or bytes, in its own order. Raises RuleBroken for what does not hold together."""
    document, blobs = split_reply(reply)
    found = document.get("outputs")
    if not isinstance(found, list):
        raise RuleBroken("an answer without a list 'outputs'")
    outputs = []
    for fields in found:
        tensor, used = _output(fields, blobs)
        blobs = blobs[used:]
        outputs.append(tensor)
    if blobs:
        raise RuleBroken(f"{len(blobs)} bytes behind the JSON that belong to no output")
    return outputs


def read_raw(name: str, datatype: str, shape: Sequence[int], blob: bytes) -> Tensor:
    """A tensor from its bytes. Raises RuleBroken where there are more or fewer than its shape has."""
    count = prod(shape)
    if datatype == "BYTES":
        texts: list[bytes] = []
        at = 0
        while at + 4 <= len(blob):
            (length,) = struct.unpack_from("<I", blob, at)
            texts.append(blob[at + 4 : at + 4 + length])
            at += 4 + length
        if at != len(blob) or len(texts) != count:
            raise RuleBroken(f"output '{name}' is of shape {list(shape)} and has {len(texts)} texts")
        values = np.empty(count, dtype=object)
        values[:] = texts
        return Tensor(name, datatype, values.reshape(shape))
    dtype = numpy_type(datatype)
    if len(blob) != count * dtype.itemsize:
        raise RuleBroken(f"output '{name}' ({datatype}, {list(shape)}) comes in {len(blob)} bytes")
    return Tensor(name, datatype, np.frombuffer(blob, dtype.numpy).reshape(shape))


def _output(fields: Any, blobs: bytes) -> tuple[Tensor, int]:
    """One output, and how many of the bytes it takes."""
    if not isinstance(fields, dict):
        raise RuleBroken("an output that is no JSON object")
    name, datatype, shape = fields.get("name"), fields.get("datatype"), fields.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        raise RuleBroken(f"an output without name, datatype and shape: {sorted(fields)}")
    if any(type(size) is not int or size < 0 for size in shape):
        raise RuleBroken(f"output '{name}' has shape {shape}")
    size = (fields.get("parameters") or {}).get("binary_data_size")
    if size is not None:
        if "data" in fields:
            raise RuleBroken(f"output '{name}' has both 'data' and 'binary_data_size'")
        if type(size) is not int or not 0 <= size <= len(blobs):
            raise RuleBroken(f"output '{name}' says {size} bytes, and {len(blobs)} are left")
        return read_raw(name, datatype, shape, blobs[:size]), size
    return Tensor(name, datatype, _values(name, datatype, shape, fields.get("data"))), 0


def _values(name: str, datatype: str, shape: list[int], data: Any) -> np.ndarray[Any, Any]:
    if not isinstance(data, list):
        raise RuleBroken(f"output '{name}' has no list 'data'")
    flat = _flattened(data)
    if len(flat) != prod(shape):
        raise RuleBroken(f"output '{name}' is of shape {shape} and has {len(flat)} elements")
    dtype = numpy_type(datatype)
    kinds: tuple[type, ...] = (
        (str,)
        if dtype is DType.STRING
        else (bool,)
        if dtype is DType.BOOL
        else (int, float)
        if dtype.is_float
        else (int,)
    )
    odd = next((value for value in flat if type(value) not in kinds), None)
    if odd is not None or None in flat:
        raise RuleBroken(f"output '{name}' is {datatype} and holds {odd!r}")
    if dtype is DType.STRING:
        values = np.empty(len(flat), dtype=object)
        values[:] = [text.encode() for text in flat]
        return values.reshape(shape)
    return np.array(flat, dtype=np.float64 if dtype.is_float else None).astype(dtype.numpy).reshape(shape)


def _flattened(data: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in data:
        flat.extend(_flattened(value) if isinstance(value, list) else [value])
    return flat


def _listed(tensor: Tensor, values: np.ndarray[Any, Any]) -> Any:
    if tensor.datatype == "BYTES":
        return np.vectorize(bytes.decode, otypes=[object])(values).tolist() if values.size else values.tolist()
    if numpy_type(tensor.datatype).is_float:
        return values.astype(np.float64).tolist()
    return values.tolist()
