"""Answers → bodies: what a client reads back is what the model said, alone or in a batch, as text or as bytes."""

from __future__ import annotations

import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlserve.core.dtypes import DType
from mlserve.errors import Unsupported
from mlserve.serving.oip.decoding import ALL_BINARY, Wish
from mlserve.serving.oip.encoding import encode_answer
from mlserve.serving.oip.plans import plan_of
from mlserve.serving.seam import Answer, BatchOutputs, ModelView
from tests.serving.fakes import echo, view_of

TWO = view_of(
    {"x": (DType.FLOAT32, ("batch", 1))},
    {"p": (DType.FLOAT32, ("batch", 2)), "label": (DType.INT64, ("batch",))},
)


def answer(
    outputs: dict[str, np.ndarray[Any, Any]],
    view: ModelView = TWO,
    start: int = 0,
    stop: int | None = None,
    names: tuple[str, ...] | None = None,
) -> Answer:
    rows = len(next(iter(outputs.values())))
    return Answer(BatchOutputs(view, outputs, rows, is_sliced=True), start, rows if stop is None else stop, names)


def read(given: Answer) -> dict[str, Any]:
    encoded = encode_answer(given, None, None)
    assert encoded.blobs is None
    document: dict[str, Any] = json.loads(encoded.json)
    return document


def three_rows() -> dict[str, np.ndarray[Any, Any]]:
    return {"p": np.array([[0.1, 0.9], [0.5, 0.5], [1, 0]], np.float32), "label": np.array([1, 0, 0])}


def test_a_whole_batch_is_written_as_the_protocol_says() -> None:
    assert encode_answer(answer(three_rows()), None, None).json == (
        b'{"model_name":"fraud","model_version":"1","outputs":['
        b'{"name":"p","datatype":"FP32","shape":[3,2],"data":[0.1,0.9,0.5,0.5,1.0,0.0]},'
        b'{"name":"label","datatype":"INT64","shape":[3],"data":[1,0,0]}]}'
    )


def test_each_request_gets_its_own_rows_of_the_batch() -> None:
    batch = answer(three_rows()).batch

    first, rest = read(Answer(batch, 0, 1)), read(Answer(batch, 1, 3))

    assert [output["data"] for output in first["outputs"]] == [[0.1, 0.9], [1]]
    assert [output["data"] for output in rest["outputs"]] == [[0.5, 0.5, 1.0, 0.0], [0, 0]]
    assert [output["shape"] for output in rest["outputs"]] == [[2, 2], [2]]


def test_outputs_come_in_the_order_they_were_asked_in() -> None:
    found = read(answer(three_rows(), names=("label", "p")))

    assert [output["name"] for output in found["outputs"]] == ["label", "p"]
    assert found["outputs"][1]["data"][:2] == [0.1, 0.9]


def test_the_id_comes_back_only_where_one_was_sent() -> None:
    assert "id" not in read(answer(three_rows()))
    assert json.loads(encode_answer(answer(three_rows()), 'a"7', None).json)["id"] == 'a"7'


def test_an_answer_that_is_no_row_range_is_written_whole() -> None:
    view = view_of({"x": (DType.FLOAT32, ())}, {"y": (DType.FLOAT32, ())}, is_batchable=False)
    batch = BatchOutputs(view, {"y": np.float32(2.5).reshape(())}, 1, is_sliced=False)

    (output,) = read(Answer(batch, 0, None))["outputs"]

    assert output == {"name": "y", "datatype": "FP32", "shape": [], "data": [2.5]}


def test_what_is_not_finite_is_a_bare_token() -> None:
    view = echo(DType.FLOAT32).view
    batch = answer({"y": np.array([[1, math.nan], [math.inf, -math.inf], [2, 3]], np.float32)}, view).batch

    assert b'"data":[1.0,NaN]' in encode_answer(Answer(batch, 0, 1), None, None).json
    assert b'"data":[Infinity,-Infinity]' in encode_answer(Answer(batch, 1, 2), None, None).json
    assert b'"data":[2.0,3.0]' in encode_answer(Answer(batch, 2, 3), None, None).json


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (1, 0), (0, 0)], ids=str)
def test_outputs_without_elements_keep_their_shape(shape: tuple[int, int]) -> None:
    view = echo(DType.FLOAT32).view

    (output,) = read(answer({"y": np.zeros(shape, np.float32)}, view))["outputs"]

    assert (output["shape"], output["data"]) == (list(shape), [])


@pytest.mark.parametrize("dtype", [DType.STRING, DType.BOOL, DType.BFLOAT16, DType.FLOAT16, DType.UINT64, DType.INT8])
def test_every_type_is_written_so_that_it_reads_back(dtype: DType) -> None:
    plain: list[Any] = {
        DType.STRING: ["ä],[", '"', ""],
        DType.BOOL: [True, False, True],
        DType.UINT64: [0, 1, 2**64 - 1],
    }.get(dtype, [1, -2, 3])
    array = np.array([plain] * 2, dtype=dtype.numpy)

    (output,) = read(answer({"y": array}, echo(dtype).view))["outputs"]

    assert output["datatype"] == dtype.served
    assert np.array(output["data"], dtype=dtype.numpy).reshape(2, 3).tolist() == array.tolist()


def test_an_output_of_a_type_that_the_protocol_does_not_have_is_refused() -> None:
    view = view_of({"x": (DType.FLOAT32, ("b",))}, {"y": (DType.COMPLEX64, ("b",))})

    with pytest.raises(Unsupported, match="complex64"):
        encode_answer(answer({"y": np.zeros(1, np.complex64)}, view), None, None)


def test_blobs_follow_the_json_that_tells_their_sizes() -> None:
    outputs = three_rows()

    encoded = encode_answer(answer(outputs), "7", ALL_BINARY)

    described = json.loads(encoded.json)
    assert described["id"] == "7"
    assert [output["parameters"]["binary_data_size"] for output in described["outputs"]] == [24, 24]
    assert not any("data" in output for output in described["outputs"])
    assert encoded.blobs is not None
    assert [bytes(blob) for blob in encoded.blobs] == [array.tobytes() for array in outputs.values()]


def test_one_output_may_be_a_blob_and_another_json() -> None:
    encoded = encode_answer(answer(three_rows(), start=1, stop=2), None, Wish(False, frozenset({"p"})))

    p, label = json.loads(encoded.json)["outputs"]
    assert p["parameters"] == {"binary_data_size": 8}
    assert label["data"] == [0]
    assert encoded.blobs is not None
    assert [bytes(blob) for blob in encoded.blobs] == [np.array([0.5, 0.5], np.float32).tobytes()]


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        pytest.param(DType.STRING, ["a", "ä"], b"\x01\0\0\0a\x02\0\0\0\xc3\xa4", id="BYTES"),
        pytest.param(DType.BOOL, [True, False], b"\x01\0", id="BOOL"),
        pytest.param(DType.BFLOAT16, [1, 2], np.array([1, 2], ml_dtypes.bfloat16).tobytes(), id="BF16"),
    ],
)
def test_blobs_are_little_endian_and_packed(dtype: DType, data: list[Any], expected: bytes) -> None:
    array = np.array([data], dtype=dtype.numpy)

    encoded = encode_answer(answer({"y": array}, echo(dtype).view), None, ALL_BINARY)

    assert encoded.blobs is not None
    assert bytes(encoded.blobs[0]) == expected


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.STRING])
def test_blobs_that_are_all_of_no_bytes_leave_plain_json(dtype: DType) -> None:
    array = np.array([[]], dtype=dtype.numpy)

    encoded = encode_answer(answer({"y": array}, echo(dtype).view), None, ALL_BINARY)

    assert encoded.blobs is None
    (output,) = json.loads(encoded.json)["outputs"]
    assert output["parameters"] == {"binary_data_size": 0}
    assert "data" not in output


def test_one_blob_of_no_bytes_among_others_is_a_blob() -> None:
    outputs = {"p": np.zeros((1, 0), np.float32), "label": np.array([1])}

    encoded = encode_answer(answer(outputs), None, ALL_BINARY)

    assert encoded.blobs is not None
    assert [len(blob) for blob in encoded.blobs] == [0, 8]


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int64]),
        st.tuples(st.integers(1, 6), st.integers(0, 3)),
    ),
    st.data(),
)
def test_a_row_reads_back_bit_for_bit_alone_or_in_any_range(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    view = echo(DType(array.dtype.name)).view
    start = data.draw(st.integers(0, len(array) - 1))
    stop = data.draw(st.integers(start + 1, len(array)))

    (output,) = read(answer({"y": array}, view, start, stop))["outputs"]

    found = np.array(output["data"], dtype=array.dtype).reshape(output["shape"])
    np.testing.assert_array_equal(found, array[start:stop])


def test_ever_new_shapes_do_not_fill_the_memory() -> None:
    view = echo(DType.INT8).view

    for rows in range(1, 600):
        read(answer({"y": np.zeros((rows, 1), np.int8)}, view))

    assert len(plan_of(view).frames) <= 256
