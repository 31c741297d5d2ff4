"""Arrays become requests of the Open Inference Protocol: JSON, or JSON with binary tensors after it.

Source: Open Inference Protocol V2 (HTTP/REST) and Triton's binary tensor data extension.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Literal

import numpy as np
import orjson

from mlserve.bench.messages import post
from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature

Protocol = Literal["json", "binary", "grpc"]
Arrays = Mapping[str, np.ndarray[Any, Any]]

DISTINCT = 64
"""A load goes through so many different requests, so that no cache makes it easy."""
MOST_BYTES = 128 << 20


def requests_of(
    inputs: Iterable[Arrays],
    signature: Signature,
    protocol: Protocol,
    host: str,
    port: int,
    path: str,
    headers: Mapping[str, str] | None = None,
) -> Iterator[bytes]:
    """An HTTP request for each of ``inputs``, with further ``headers``; fewer where they would fill the memory."""
    further = [f"{name}: {value}" for name, value in (headers or {}).items()]
    dtypes = {spec.name: spec.dtype for spec in signature.inputs}
    held_bytes = 0
    for arrays in inputs:
        request = (
            post(host, port, path, json_body(arrays, dtypes), ("Content-Type: application/json", *further))
            if protocol == "json"
            else _post_binary(host, port, path, arrays, dtypes, further)
        )
        held_bytes += len(request)
        yield request
        if held_bytes > MOST_BYTES:
            return


def json_body(arrays: Arrays, dtypes: Mapping[str, DType], request_id: str | None = None) -> bytes:
    """The request as JSON, data flat; floats as short as they can be, NaN and Infinity as those bare tokens.

    >>> json_body({"x": np.array([[0.1]], np.float32)}, {"x": DType.FLOAT32})
    b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[0.1]}]}'
    """
    tensors = [
        {"name": name, "shape": list(array.shape), "datatype": dtypes[name].served, "data": _flat(array)}
        for name, array in arrays.items()
    ]
    body = _named(request_id) | {"inputs": tensors}
    if all(_is_finite(tensor["data"]) for tensor in tensors):
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    for tensor in tensors:
        tensor["data"] = np.asarray(tensor["data"]).tolist()
    return json.dumps(body).encode()


def binary_body(arrays: Arrays, dtypes: Mapping[str, DType], request_id: str | None = None) -> tuple[bytes, int]:
    """The request with binary tensors, all outputs binary too; and how much of it is JSON."""
    blobs = {name: blob_of(array) for name, array in arrays.items()}
    tensors = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": dtypes[name].served,
            "parameters": {"binary_data_size": len(blobs[name])},
        }
        for name, array in arrays.items()
    ]
    head = orjson.dumps(_named(request_id) | {"parameters": {"binary_data_output": True}, "inputs": tensors})
    return head + b"".join(blobs.values()), len(head)


def _named(request_id: str | None) -> dict[str, Any]:
    return {} if request_id is None else {"id": request_id}


def blob_of(array: np.ndarray[Any, Any]) -> bytes:
    """A tensor as it goes over the wire: little-endian, row-major; strings each after its length in four bytes."""
    if array.dtype == object:
        texts = (str(text).encode() for text in array.ravel())
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return np.ascontiguousarray(array).tobytes()


def rowwise(arrays: Arrays, rows: int) -> Iterator[Arrays]:
    """``arrays`` in pieces of ``rows`` rows; as one piece where they have no common axis of rows."""
    lengths = {len(array) if array.ndim else 0 for array in arrays.values()}
    (length,) = lengths if len(lengths) == 1 else (0,)
    if length <= rows:
        yield arrays
        return
    for start in range(0, length - rows + 1, rows):
        yield {name: array[start : start + rows] for name, array in arrays.items()}


def _post_binary(
    host: str, port: int, path: str, arrays: Arrays, dtypes: Mapping[str, DType], further: Sequence[str]
) -> bytes:
    body, json_bytes = binary_body(arrays, dtypes)
    headers = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {json_bytes}", *further)
    return post(host, port, path, body, headers)


def _flat(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype == object:
        return [str(text) for text in array.ravel()]
    plain = array.astype(np.float32) if array.dtype.kind == "V" or array.dtype == np.float16 else array
    return np.ascontiguousarray(plain.ravel())


def _is_finite(values: Any) -> bool:
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        return True
    return isfinite(float(values.sum())) or bool(np.isfinite(values).all())
