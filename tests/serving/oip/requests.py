"""Requests for the codec, and what it made of them."""

from __future__ import annotations

import json
from typing import Any

from mlserve.core.dtypes import DType
from mlserve.serving.oip.decoding import Decoded, decode_infer
from tests.serving.fakes import array_of, doubling, view_of

FLOATS = doubling().view
TWO = view_of(
    {"amount": (DType.FLOAT32, ("batch", 2)), "country": (DType.STRING, ("batch", 1))},
    {"p": (DType.FLOAT32, ("batch",)), "q": (DType.INT64, ("batch",))},
)


def request(data: Any, shape: list[int], datatype: str = "FP32", name: str = "x", **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}], **fields}


def decoded(body: Any, view: Any = FLOATS, **options: Any) -> Decoded:
    return decode_infer(view, None, body if isinstance(body, bytes) else json.dumps(body).encode(), **options)


def values(result: Decoded) -> list[Any]:
    tensor = result.request.inputs[0]
    return array_of(tensor).ravel().tolist()
