"""Bodies of inference requests → the seam's values, or a sentence that says what is wrong with them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, MlserveError, Unsupported
from mlserve.serving.oip.decoding import ALL_BINARY, Decoded, decode_infer
from mlserve.serving.oip.leniently import LARGE_BYTES
from tests.serving.fakes import array_of, doubling, echo, view_of

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


@pytest.mark.parametrize("name", ["classification", "shared_memory_region"])
def test_what_is_not_offered_is_said_rather_than_ignored(name: str) -> None:
    body = request([1, 2, 3], [1, 3], outputs=[{"name": "y", "parameters": {name: 1}}])

    with pytest.raises(Unsupported, match=name):
        decoded(body)


# Binary tensors.


def binary(inputs: list[dict[str, Any]], blobs: bytes, view: Any = FLOATS, **fields: Any) -> Decoded:
    text = json.dumps({"inputs": inputs, **fields}).encode()
    return decode_infer(view, None, text + blobs, json_bytes=len(text))


def blob_input(size: Any, shape: list[int], name: str = "x", datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


@given(st.integers(0, 9))
def test_a_blob_is_read_wherever_it_begins(padding: int) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    result = binary([blob_input(24, [2, 3])], array.tobytes(), id="i" * padding)

    found = result.request.inputs[0].values
    assert isinstance(found, np.ndarray)
    assert found.flags.aligned
    np.testing.assert_array_equal(found, array)


def test_blobs_follow_each_other_in_the_order_of_their_inputs() -> None:
    result = binary(
        [blob_input(6, [1, 1], "country", "BYTES"), blob_input(8, [1, 2], "amount")],
        b"\x02\0\0\0de" + np.array([1, 2], np.float32).tobytes(),
        TWO,
    )

    assert [array_of(tensor).tolist() for tensor in result.request.inputs] == [[["de"]], [[1.0, 2.0]]]


def test_an_input_as_json_may_stand_beside_one_as_a_blob() -> None:
    as_json = {"name": "country", "shape": [1, 1], "datatype": "BYTES", "data": ["de"]}

    result = binary([as_json, blob_input(8, [1, 2], "amount")], bytes(8), TWO)

    assert [array_of(tensor).tolist() for tensor in result.request.inputs] == [[["de"]], [[0.0, 0.0]]]


@pytest.mark.parametrize(
    ("item", "blobs", "said"),
    [
        pytest.param(blob_input(12, [1, 3]), bytes(8), "only 8 are left", id="too short"),
        pytest.param(blob_input(12, [1, 3]), bytes(16), "4 bytes of data belong to no input", id="too long"),
        pytest.param(blob_input(12, [2, 3]), bytes(12), "needs 24", id="not of the shape"),
        pytest.param(blob_input(-1, [1, 3]), bytes(12), "not a count", id="negative"),
        pytest.param(blob_input(True, [1, 3]), bytes(12), "not a count", id="a flag"),
        pytest.param(blob_input(12, [2**40, 2**40]), bytes(12), "needs", id="a huge shape"),
        pytest.param(blob_input(12, [1, 3]) | {"data": [1, 2, 3]}, bytes(12), "both", id="data as well"),
    ],
)
def test_a_blob_of_another_size_is_refused(item: dict[str, Any], blobs: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        binary([item], blobs)


def test_shared_memory_is_not_offered() -> None:
    item = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"shared_memory_region": "a"}}

    with pytest.raises(Unsupported, match="shared memory"):
        binary([item], b"")


def test_json_longer_than_the_body_is_refused() -> None:
    with pytest.raises(InvalidInput, match="only 2"):
        decode_infer(FLOATS, None, b"{}", json_bytes=3)


@pytest.mark.parametrize(
    ("parameters", "outputs", "all_binary", "names"),
    [
        pytest.param({}, None, None, None, id="JSON unless asked"),
        pytest.param({"binary_data_output": True}, None, True, set(), id="all"),
        pytest.param(
            {"binary_data_output": True}, [{"name": "p"}], False, {"p"}, id="the default holds for one listed"
        ),
        pytest.param(
            {"binary_data_output": True},
            [{"name": "p", "parameters": {"binary_data": False}}, {"name": "q"}],
            False,
            {"q"},
            id="one says otherwise",
        ),
        pytest.param({}, [{"name": "q", "parameters": {"binary_data": True}}], False, {"q"}, id="one asks"),
        pytest.param({}, [{"name": "q"}], None, None, id="none asks"),
    ],
)
def test_each_output_is_a_blob_where_it_is_asked_to_be(
    parameters: dict[str, Any], outputs: Any, all_binary: bool | None, names: set[str] | None
) -> None:
    fields = {"parameters": parameters} | ({"outputs": outputs} if outputs else {})
    inputs = [blob_input(8, [1, 2], "amount"), blob_input(5, [1, 1], "country", "BYTES")]

    wish = binary(inputs, bytes(8) + b"\x01\0\0\0a", TWO, **fields).wish

    if all_binary is None:
        assert wish is None
    else:
        assert wish is not None
        assert (wish.all_binary, wish.binary) == (all_binary, names)


# A body that is one bare tensor.


def test_a_bare_tensor_takes_its_shape_from_the_model_and_its_size() -> None:
    body = np.arange(6, dtype=np.float32).tobytes()

    result = decode_infer(FLOATS, 4, body, json_bytes=0)

    assert result.request.inputs[0].shape == (2, 3)
    assert result.request.version == 4
    assert result.wish is ALL_BINARY


def test_a_bare_string_is_the_whole_body() -> None:
    result = decode_infer(echo(DType.STRING, dims=("batch", 1)).view, None, "grün".encode(), json_bytes=0)

    assert array_of(result.request.inputs[0]).tolist() == [["grün"]]


@pytest.mark.parametrize(
    ("view", "body", "said"),
    [
        pytest.param(FLOATS, bytes(13), "needs 12", id="not a whole row"),
        pytest.param(TWO, b"", "one input", id="two inputs"),
        pytest.param(echo(DType.INT8, dims=("b", None, None)).view, b"abc", "2 dynamic dims", id="two open dims"),
    ],
)
def test_a_bare_tensor_that_leaves_something_open_is_refused(view: Any, body: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        decode_infer(view, None, body, json_bytes=0)


# Whatever comes, the answer is a request or one of our errors.


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
