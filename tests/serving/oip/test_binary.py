"""Requests whose tensors come as blobs behind the JSON, or as the whole body."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unsupported
from mlserve.serving.oip.decoding import ALL_BINARY, Decoded, decode_infer
from tests.serving.fakes import array_of, echo
from tests.serving.oip.requests import FLOATS, TWO


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
