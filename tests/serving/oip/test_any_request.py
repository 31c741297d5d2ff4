"""Whatever comes is a request or a refusal of ours, and judged alike whichever way it is read."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, MlserveError
from mlserve.serving.oip.decoding import decode_infer
from mlserve.serving.oip.leniently import LARGE_BYTES
from tests.serving.fakes import array_of, echo
from tests.serving.oip.requests import FLOATS, TWO, decoded, request


def status(view: Any, body: bytes, json_bytes: int | None = None) -> int:
    try:
        decode_infer(view, None, body, json_bytes=json_bytes)
    except MlserveError as error:
        return error.http_status
    return 200


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_random_bytes_are_refused_by_our_own_errors_only(body: bytes, json_bytes: int | None) -> None:
    assert status(TWO, body, json_bytes) in (200, 400)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["data", "name", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    name=st.sampled_from(["x", "amount", "country"]) | anything,
    shape=st.lists(st.integers(-1, 4), max_size=3) | anything,
    datatype=st.sampled_from(["FP32", "BYTES"]) | anything,
    data=anything,
    fields=st.dictionaries(st.sampled_from(["id", "outputs", "parameters", "more"]), anything),
    padding=st.sampled_from([0, LARGE_BYTES]),
)
def test_anything_in_any_place_is_a_request_or_a_refusal(
    name: Any, shape: Any, datatype: Any, data: Any, fields: dict[str, Any], padding: int
) -> None:
    body = request(data, shape, datatype, name) | fields
    text = json.dumps(body).encode() + b" " * padding

    assert {status(FLOATS, text), status(TWO, text)} <= {200, 400, 501}


floats32 = st.floats(width=32, allow_nan=False)


@given(st.lists(floats32, min_size=1, max_size=40), st.booleans(), st.sampled_from([0, LARGE_BYTES]))
def test_floats_arrive_bit_for_bit_however_they_are_sent(data: list[float], nested: bool, padding: int) -> None:
    body = request([data] if nested else data, [1, len(data)])
    text = json.dumps(body).encode() + b" " * padding

    found = array_of(decoded(text, echo(DType.FLOAT32).view).request.inputs[0])

    assert found.tobytes() == np.array(data, np.float32).tobytes()


@given(
    st.recursive(st.integers(-5, 5), lambda inner: st.lists(inner, max_size=3), max_leaves=8).filter(
        lambda data: isinstance(data, list)
    ),
    st.lists(st.integers(0, 3), min_size=2, max_size=2),
)
def test_large_and_small_requests_are_judged_alike(data: list[Any], shape: list[int]) -> None:
    view = echo(DType.INT32).view
    text = json.dumps(request(data, shape, "INT32")).encode()

    def judged(body: bytes) -> Any:
        try:
            tensor = decoded(body, view).request.inputs[0]
        except InvalidInput:
            return None
        values = list(tensor.values) if isinstance(tensor.values, list) else tensor.values.ravel().tolist()
        return values if len(values) == math.prod(shape) else None  # a list's length is the engine's check

    assert judged(text) == judged(text + b" " * LARGE_BYTES)
