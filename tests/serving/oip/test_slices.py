"""Long lists cut out of the text and read in slices: the same numbers, or a refusal where the whole text is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import simdjson
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.serving.oip.leniently import LARGE_BYTES
from mlserve.serving.oip.slices import LEAST_BYTES, SLICE_BYTES, Span, lift_lists, read_slices
from tests.serving.fakes import echo, view_of
from tests.serving.oip.requests import decoded, request
from tests.serving.oip.requests import values as values_of

MANY = SLICE_BYTES // 4


def numbers(piece: simdjson.Array) -> np.ndarray[Any, Any]:
    return np.frombuffer(piece.as_buffer(of_type="d"))


def sliced(text: bytes, slice_bytes: int) -> list[float] | None:
    try:
        return read_slices(text, Span((0, len(text))), numbers, slice_bytes).tolist()
    except (ValueError, TypeError):
        return None


def whole(text: bytes) -> list[float] | None:
    try:
        return numbers(simdjson.Parser().parse(b"[%b]" % text)).tolist() or None
    except (ValueError, TypeError):
        return None


@given(
    st.lists(st.sampled_from(["1", "-2.5e3", "0", ",", ",", ",", " ", "\n", "[", "]", "true", '"', "0.1"])).map(
        "".join
    ),
    st.integers(1, 12),
)
def test_slices_are_read_as_the_whole_is_or_not_at_all(text: str, slice_bytes: int) -> None:
    expected, found = whole(text.encode()), sliced(text.encode(), slice_bytes)

    # A slice may be too short for the longest number, which no slice of the real size is.
    assert found == expected or (found is None and slice_bytes < 10)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.integers(40, 100))
def test_numbers_come_bit_for_bit_from_slices(values: list[float], slice_bytes: int) -> None:
    assert sliced(json.dumps(values)[1:-1].encode(), slice_bytes) == values


def test_each_long_list_leaves_a_number_and_is_found_where_it_stood() -> None:
    one, two = "1, 2, 3", "4,5"
    text = (
        f'{{"inputs": [{{"data" : [{one}], "name": "a"}}, {{"name": "b","data":[{two}]}}, {{"data": [6]}}]}}'.encode()
    )

    rest, spans = lift_lists(text, least_bytes=2)

    first, second, third = json.loads(rest)["inputs"]
    assert [text[slice(*spans[item["data"][0]])].decode() for item in (first, second)] == [one, two]
    assert (first["name"], second["name"], third["data"]) == ("a", "b", [6])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"data": [[1, 2], [3, 4]]}', id="nested"),
        pytest.param('{"data": ["abc", "def"]}', id="texts"),
        pytest.param('{"data": {"a": [1, 2, 3]}}', id="no list"),
        pytest.param('{"data": [1, 2, 3', id="no end"),
        pytest.param('{"data"', id="cut off"),
        pytest.param('{"shape": [1, 2, 3]}', id="another key"),
    ],
)
def test_what_is_no_flat_list_stays(text: str) -> None:
    assert lift_lists(text.encode(), least_bytes=2) == (text.encode(), {})


def body(data: str, **fields: Any) -> bytes:
    return json.dumps(request("DATA", [1, MANY]) | fields).replace('"DATA"', data).encode()


def test_text_that_looks_like_a_list_of_numbers_is_not_taken_for_one() -> None:
    values = ",".join(["0.5"] * MANY)
    trap = f'"data": [{values}]'

    found = decoded(body(f"[{values}]", id=trap), echo(DType.FLOAT32).view)

    assert found.id == trap
    assert values_of(found) == [0.5] * MANY


def test_a_long_list_of_blanks_is_empty() -> None:
    found = decoded(body("[" + " " * (LEAST_BYTES + LARGE_BYTES) + "]"), echo(DType.FLOAT32).view)

    assert list(found.request.inputs[0].values) == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("[" + "1," * MANY + "]", id="a comma too many"),
        pytest.param("[" + "1," * (MANY - 1) + "1e999]", id="beyond the range"),
        pytest.param("[" + "1," * (MANY - 1) + '"a"]', id="a text"),
        pytest.param("[" + "1," * (MANY - 2) + ",1]", id="a number missing"),
        pytest.param("[" + "1," * MANY + "1]", id="a number too many"),
    ],
)
def test_a_long_list_with_a_fault_is_refused(data: str) -> None:
    with pytest.raises(InvalidInput):
        decoded(body(data), echo(DType.FLOAT32).view)


@pytest.mark.parametrize("blanks", ["", " ", "\n "])
def test_long_lists_of_several_inputs_keep_their_places(blanks: str) -> None:
    view = view_of({"a": (DType.FLOAT32, (None,)), "b": (DType.INT64, (None,))}, {"y": (DType.FLOAT32, (None,))})
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=MANY).astype(np.float32), rng.integers(-(1 << 62), 1 << 62, size=MANY)
    inputs = [
        {"name": "b", "shape": [MANY], "datatype": "INT64", "data": b.tolist()},
        {"name": "a", "shape": [MANY], "datatype": "FP32", "data": a.tolist()},
    ]
    text = json.dumps({"inputs": inputs}).replace(", ", "," + blanks).encode()

    first, second = decoded(text, view).request.inputs

    np.testing.assert_array_equal(first.values, b)
    np.testing.assert_array_equal(second.values, a)


def test_hostile_repetition_costs_no_more_than_its_length() -> None:
    assert lift_lists(b'"data":[' * 200_000, least_bytes=2)[1] == {}
