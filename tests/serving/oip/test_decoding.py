"""Bodies of inference requests → the seam's values, or a sentence that says what is wrong with them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unsupported
from mlserve.serving.oip.leniently import LARGE_BYTES
from tests.serving.fakes import echo
from tests.serving.oip.requests import TWO, decoded, request, values


def test_flat_and_nested_data_are_the_same_request() -> None:
    flat = decoded(request([1, 2, 3, 4, 5, 6], [2, 3]))
    nested = decoded(request([[1, 2, 3], [4, 5, 6]], [2, 3]))

    assert values(flat) == values(nested) == [1, 2, 3, 4, 5, 6]
    assert flat.request.inputs[0].shape == nested.request.inputs[0].shape == (2, 3)


def test_bare_tokens_are_the_floats_they_name() -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}'

    found = values(decoded(body))

    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]


def test_unknown_fields_are_ignored() -> None:
    body = request([1, 2, 3], [1, 3], client={"version": [1, [2]]})

    assert values(decoded(body)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("dtype", "datatype", "data"),
    [
        pytest.param(DType.FLOAT32, "FP32", [0.1, -2, 3e38], id="FP32"),
        pytest.param(DType.FLOAT64, "FP64", [0.1, 1e300, 7], id="FP64"),
        pytest.param(DType.FLOAT64, "FP64", [0, 10**308, -(10**308)], id="FP64 of many digits"),
        pytest.param(DType.FLOAT16, "FP16", [0.1, 65504, -1], id="FP16"),
        pytest.param(DType.BFLOAT16, "BF16", [0.5, 3e38, -1], id="BF16"),
        pytest.param(DType.INT8, "INT8", [-128, 0, 127], id="INT8"),
        pytest.param(DType.INT64, "INT64", [-(2**63), 0, 2**63 - 1], id="INT64"),
        pytest.param(DType.UINT64, "UINT64", [0, 1, 2**64 - 1], id="UINT64"),
        pytest.param(DType.INT32, "INT32", [1.0, 2, 3], id="integers with a point"),
        pytest.param(DType.BOOL, "BOOL", [True, False, True], id="BOOL"),
        pytest.param(DType.BOOL, "BOOL", [1, 0, 1], id="BOOL as numbers"),
        pytest.param(DType.STRING, "BYTES", ["ä", "", "[1]"], id="BYTES"),
    ],
)
@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
def test_every_type_is_read_as_itself(dtype: DType, datatype: str, data: list[Any], padding: int) -> None:
    body = json.dumps(request(data, [1, 3], datatype)).encode() + b" " * padding

    found = values(decoded(body, echo(dtype).view))

    assert found == np.array(data, dtype=dtype.numpy).tolist()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"[]", "not an inference request", id="a list"),
        pytest.param(b'{"inputs": 1}', "not an inference request", id="inputs no list"),
        pytest.param(b"\xff\xfe", "not UTF-8", id="not UTF-8"),
        pytest.param(b'{"a":' * 200, "nests deeper than 100", id="deep"),
        pytest.param(request([1, 2, 3], [1, -3]), "not an inference request", id="a negative length"),
        pytest.param(request([1, 2, 3], [1, 3], "FP64"), "'x' is FP32, not 'FP64'", id="another type"),
        pytest.param(request([1, 2, 3], [1, 3], name="y"), "no input 'y'", id="unknown input"),
        pytest.param(request([1, "a", 3], [1, 3]), "element 1 of input 'x' is \"a\"", id="a string"),
        pytest.param(request([1, None, 3], [1, 3]), "element 1 of input 'x' is null", id="null"),
        pytest.param(request([1, True, 3], [1, 3]), "element 1 of input 'x' is true", id="a bool"),
        pytest.param(request([[1, 2], [3]], [1, 3]), "does not nest", id="ragged"),
        pytest.param(request([[1, 2, 3], 4], [2, 3]), "does not nest", id="half nested"),
        pytest.param(request([[]], [0, 3]), "does not nest", id="an empty level"),
        pytest.param(request([[]], []), r"element 0 of input 'x' is \[\]", id="nested though a scalar"),
        pytest.param(request([1, [2], 3], [1, 3]), r"element 1 of input 'x' is \[2\]", id="nested in the middle"),
        pytest.param(request("1,2,3", [1, 3]), "not a list", id="data a string"),
        pytest.param(request(None, [1, 3]), "neither data nor binary_data_size", id="no data"),
        pytest.param(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1e400]}]}', "beyond", id="1e400"),
        pytest.param(
            b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[Infinity,-1e400]}]}',
            "beyond",
            id="1e400 beside a token",
        ),
        pytest.param(request([10**400, 1, 1], [1, 3]), "element 0", id="an integer of 400 digits"),
        pytest.param(b'{"inputs":[], "id":"\\ud800"}', "id is no Unicode", id="half a surrogate as id"),
        pytest.param(b'{"inputs":' + b"9" * 5000 + b"}", "not JSON", id="an integer of 5000 digits"),
        pytest.param(request([1, 2, 3], [1, 3], parameters={"timeout": -1}), "timeout", id="a negative timeout"),
        pytest.param(request([1, 2, 3], [1, 3], parameters={"timeout": "1"}), "timeout", id="a timeout in words"),
        pytest.param(request([1, 2, 3], [1, 3], outputs=[{"name": "z"}]), "no output 'z'", id="unknown output"),
        pytest.param(request([1, 2, 3], [1, 3], outputs=[{"name": "y"}] * 2), "comes twice", id="an output twice"),
        pytest.param(
            request([1, 2, 3], [1, 3], parameters={"binary_data_output": 1}), "not true or false", id="a flag as number"
        ),
    ],
)
@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
def test_what_is_wrong_is_said(body: Any, said: str, padding: int) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    with pytest.raises(InvalidInput, match=said):
        decoded(text + b" " * padding)


@pytest.mark.parametrize(
    ("dtype", "datatype", "value"),
    [
        pytest.param(DType.INT8, "INT8", 128, id="INT8"),
        pytest.param(DType.UINT8, "UINT8", -1, id="UINT8"),
        pytest.param(DType.INT64, "INT64", 2**63, id="INT64"),
        pytest.param(DType.INT16, "INT16", -32769, id="INT16"),
        pytest.param(DType.INT32, "INT32", 1.5, id="a fraction"),
        pytest.param(DType.BOOL, "BOOL", 2, id="BOOL"),
        pytest.param(DType.STRING, "BYTES", 1, id="BYTES"),
    ],
)
@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
def test_a_value_that_its_type_cannot_hold_is_named(dtype: DType, datatype: str, value: Any, padding: int) -> None:
    body = json.dumps(request([value], [1, 1], datatype)).encode() + b" " * padding

    with pytest.raises(InvalidInput, match="element 0 of input 'x'"):
        decoded(body, echo(dtype).view)


@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
def test_of_a_field_that_comes_twice_the_last_counts(padding: int) -> None:
    text = json.dumps(request([1, 2, 3], [1, 3])).replace('"shape"', '"data": [7, 7, 7], "shape"', 1)

    assert values(decoded(text.encode() + b" " * padding)) == [1, 2, 3]


def test_other_parameters_of_an_input_are_passed_over() -> None:
    body = request([1, 2, 3], [1, 3])
    body["inputs"][0]["parameters"] = {"content_type": "np"}

    assert values(decoded(body)) == [1, 2, 3]


def test_nesting_that_only_the_parser_minds_is_refused_too() -> None:
    text = b'{"inputs": [], "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    with pytest.raises(InvalidInput, match="nests too deep"):
        decoded(text, max_depth=1_000_000)


def test_half_a_surrogate_pair_is_no_string() -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"BYTES","data":["\\ud800"]}]}'

    with pytest.raises(InvalidInput, match="element 0"):
        decoded(body, echo(DType.STRING).view)


def test_inputs_of_several_kinds_are_each_read_as_their_own() -> None:
    body = {
        "inputs": [
            {"name": "country", "shape": [1, 1], "datatype": "BYTES", "data": ["de"]},
            {"name": "amount", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2.5]]},
        ]
    }

    inputs = decoded(body, TWO).request.inputs

    assert [(tensor.name, list(tensor.values)) for tensor in inputs] == [("country", ["de"]), ("amount", [1.0, 2.5])]


def test_the_id_the_outputs_and_the_deadline_come_along() -> None:
    body = request([1, 2, 3], [1, 3], id="a7", outputs=[{"name": "y"}], parameters={"timeout": 2_500_000})

    result = decoded(body, clock=lambda: 10.0)

    assert result.id == "a7"
    assert result.request.outputs == ("y",)
    assert result.request.deadline_s == 12.5
    assert result.wish is None


def test_a_timeout_of_zero_is_none() -> None:
    assert decoded(request([1, 2, 3], [1, 3], parameters={"timeout": 0})).request.deadline_s is None


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        pytest.param({"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "shared", id="memory"),
        pytest.param({"parameters": {"sequence_id": 7}}, "sequence_id", id="sequence id"),
        pytest.param({"parameters": {"sequence_start": True}}, "sequence_start", id="sequence start"),
    ],
)
def test_what_is_not_offered_is_said_rather_than_ignored(fields: dict[str, Any], name: str) -> None:
    body = request([1, 2, 3], [1, 3], **fields)

    with pytest.raises(Unsupported, match=name):
        decoded(body)
