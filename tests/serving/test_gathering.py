"""Requests checked on arrival and gathered into one batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.serving import gathering
from mlserve.serving.gathering import Intake, convert
from mlserve.serving.seam import InferRequest, InputTensor

ONE = Signature((TensorSpec("x", DType.FLOAT32, ("n", 2)),), (TensorSpec("y", DType.FLOAT32, ("n",)),))
TWO = Signature(
    (TensorSpec("a", DType.INT64, ("n",)), TensorSpec("b", DType.STRING, ("n", None))),
    (TensorSpec("y", DType.FLOAT32, ("n",)),),
)


def request(*inputs: InputTensor, outputs: tuple[str, ...] | None = None) -> InferRequest:
    return InferRequest("m", None, list(inputs), outputs)


def tensor(values: Any, *shape: int, name: str = "x", dtype: DType = DType.FLOAT32) -> InputTensor:
    return InputTensor(name, dtype, shape, values)


def test_rows_are_counted_and_equal_row_shapes_have_equal_keys() -> None:
    intake = Intake(TWO, is_batchable=True)

    def admitted(rows: int, width: int) -> tuple[int, object]:
        a = tensor([1] * rows, rows, name="a", dtype=DType.INT64)
        b = tensor(["t"] * rows * width, rows, width, name="b", dtype=DType.STRING)
        swapped = intake.admit(request(b, a))
        assert swapped == intake.admit(request(a, b))
        return swapped

    assert admitted(2, 3)[0] == 2
    assert admitted(2, 3)[1] == admitted(5, 3)[1] is not None
    assert admitted(2, 3)[1] != admitted(2, 4)[1]


def test_what_must_not_be_merged_runs_alone() -> None:
    a = tensor([1, 2], 2, name="a", dtype=DType.INT64)

    assert Intake(ONE, is_batchable=False).admit(request(tensor([1.0] * 4, 2, 2))) == (2, None)
    assert Intake(ONE, is_batchable=True).admit(request(tensor([], 0, 2))) == (1, None)
    unequal = tensor(["t"], 1, 1, name="b", dtype=DType.STRING)
    assert Intake(TWO, is_batchable=True).admit(request(a, unequal)) == (2, None)
    scalar = Signature((TensorSpec("x", DType.FLOAT32, ()),), ONE.outputs)
    assert Intake(scalar, is_batchable=False).admit(request(tensor([1.0]))) == (1, None)
    nothing = Signature((), ONE.outputs)
    assert Intake(nothing, is_batchable=False).admit(request()) == (1, None)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        pytest.param([tensor([1.0], 1, 1)], "has shape [1, 1], and the model takes [-1, 2]", id="shape"),
        pytest.param([tensor([1.0, 2.0], 2)], "has shape [2]", id="rank"),
        pytest.param([tensor([], -1, 2)], "has shape [-1, 2]", id="negative"),
        pytest.param([tensor([1.0], 1, 2)], "has 1 values, and shape [1, 2] needs 2", id="too few values"),
        pytest.param([tensor([1.0] * 3, 1, 2)], "has 3 values", id="too many values"),
        pytest.param([tensor([1, 2], 1, 2, dtype=DType.INT64)], "is INT64, and the model takes FP32", id="type"),
        pytest.param([tensor([1.0, 2.0], 1, 2, name="z")], "has no input 'z'", id="unknown name"),
        pytest.param([], "input 'x' is missing", id="missing"),
        pytest.param([tensor([1.0, 2.0], 1, 2)] * 2, "input 'x' was given twice", id="twice"),
        pytest.param([tensor(np.ones((1, 2)), 1, 2)], "not of the shape and type", id="array of another type"),
        pytest.param([tensor(np.ones((2, 1), np.float32), 1, 2)], "not of the shape", id="array of another shape"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(inputs: list[InputTensor], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Intake(ONE, is_batchable=True).admit(request(*inputs))

    assert sentence in caught.value.message


@pytest.mark.parametrize("batchable", [True, False])
def test_an_empty_tensor_may_not_ask_for_much_all_the_same(batchable: bool) -> None:
    free = Signature((TensorSpec("x", DType.FLOAT32, ("n", None, None)),), ONE.outputs)
    intake = Intake(free, is_batchable=batchable)

    for shape in ((0, 1 << 31, 1 << 31), (0, 1 << 11, 1 << 10), (1 << 21, 0, 1)):
        with pytest.raises(InvalidInput, match="too large for an empty tensor"):
            intake.admit(request(tensor([], *shape)))
    assert intake.admit(request(tensor([], 0, 1 << 10, 1 << 10))) == (1, None)


def test_an_output_that_the_model_lacks_is_refused() -> None:
    intake = Intake(ONE, is_batchable=True)

    with pytest.raises(InvalidInput, match="no output 'z'"):
        intake.admit(request(tensor([1.0, 2.0], 1, 2), outputs=("y", "z")))
    assert intake.admit(request(tensor([1.0, 2.0], 1, 2), outputs=("y",)))[0] == 1


def test_shapes_are_remembered_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "KNOWN_SHAPES", 2)
    intake = Intake(ONE, is_batchable=True)

    for _ in range(2):
        for rows in range(1, 6):
            assert intake.admit(request(tensor([0.0] * 2 * rows, rows, 2)))[0] == rows
    assert len(intake._known["x"].shapes) == 2


@given(
    parts=st.lists(
        st.tuples(
            st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=4), st.booleans()
        ),
        min_size=1,
        max_size=6,
    )
)
def test_gathered_rows_are_those_of_the_requests_in_order(parts: list[tuple[list[list[float]], bool]]) -> None:
    requests = []
    for rows, as_array in parts:
        array = np.array(rows, np.float32)
        requests.append(request(tensor(array if as_array else array.ravel().tolist(), len(rows), 2)))

    gathered = Intake(ONE, is_batchable=True).gather(requests)["x"]

    assert gathered.dtype == np.float32
    assert np.array_equal(gathered, np.array([row for rows, _ in parts for row in rows], np.float32), equal_nan=True)


def test_several_inputs_are_gathered_by_name_whatever_their_order() -> None:
    a = tensor([1], 1, name="a", dtype=DType.INT64)
    b = tensor(["é"], 1, 1, name="b", dtype=DType.STRING)

    gathered = Intake(TWO, is_batchable=True).gather([request(a, b), request(b, a)])

    assert gathered["a"].tolist() == [1, 1]
    assert gathered["b"].tolist() == [["é"], ["é"]]
    assert list(gathered) == ["a", "b"]


def test_rows_without_width_are_gathered() -> None:
    spec = Signature((TensorSpec("x", DType.FLOAT32, ("n", None)),), ONE.outputs)

    gathered = Intake(spec, is_batchable=True).gather([request(tensor([], 2, 0)), request(tensor([], 1, 0))])

    assert gathered["x"].shape == (3, 0)


@pytest.mark.parametrize(
    ("dtype", "given_values", "expected"),
    [
        (DType.FLOAT32, [1, 2.5, True], [1.0, 2.5, 1.0]),
        (DType.FLOAT64, [0.1, 1e308], [0.1, 1e308]),
        (DType.FLOAT16, [0.1, math.inf], [float(np.float16(0.1)), math.inf]),
        (DType.FLOAT16, [65519.99, -65504], [65504.0, -65504.0]),
        (DType.FLOAT32, [3.4028235e38, -math.inf], [float(np.finfo(np.float32).max), -math.inf]),
        (DType.BFLOAT16, [1.00390625, -2], [1.0, -2.0]),
        (DType.INT64, [2**63 - 1, 3.0, -1], [2**63 - 1, 3, -1]),
        (DType.UINT64, [2**64 - 1, 0], [2**64 - 1, 0]),
        (DType.INT8, [-128, 127], [-128, 127]),
        (DType.BOOL, [True, False, 1, 0], [True, False, True, False]),
        (DType.STRING, ["", "naïve"], ["", "naïve"]),
    ],
)
def test_values_become_the_nearest_of_their_type(dtype: DType, given_values: list[Any], expected: list[Any]) -> None:
    array = convert(tensor([], 0, dtype=dtype), given_values)

    assert array.dtype == dtype.numpy
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "values", "sentence"),
    [
        (DType.FLOAT32, ["1.5"], "not a number, as FP32 needs"),
        (DType.FLOAT32, [None], "not a number"),
        (DType.FLOAT32, [[1.0]], "not a number"),
        (DType.INT64, [1.5], "not an integer, as INT64 needs"),
        (DType.INT64, [math.nan], "not an integer"),
        (DType.INT64, ["1"], "not an integer"),
        (DType.INT8, [128], "out of range for INT8"),
        (DType.UINT8, [-1], "out of range for UINT8"),
        (DType.INT64, [1e300], "out of range for INT64"),
        (DType.FLOAT32, [math.inf, -1e39], "out of range for FP32"),
        (DType.FLOAT16, [65520], "out of range for FP16"),
        (DType.BFLOAT16, [3.4e38, 3.4028235e38], "out of range for BF16"),
        (DType.FLOAT64, [10**400], "out of range for FP64"),
        (DType.BOOL, [2], "not true or false"),
        (DType.STRING, [b"bytes"], "not a string"),
        (DType.COMPLEX64, [1.0], "not a number"),
    ],
)
def test_values_that_do_not_fit_are_refused(dtype: DType, values: list[Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        convert(tensor([], 0, dtype=dtype), values)

    assert sentence in caught.value.message


@given(st.lists(st.floats(width=64)))
def test_floats_round_as_numpy_rounds_them_or_are_refused(values: list[float]) -> None:
    with np.errstate(over="ignore"):
        expected = np.array(values, np.float32)

    if any(map(math.isinf, expected)) and not all(map(math.isinf, np.array(values)[np.isinf(expected)])):
        with pytest.raises(InvalidInput, match="out of range for FP32"):
            convert(tensor([], 0), values)
    else:
        assert np.array_equal(convert(tensor([], 0), values), expected, equal_nan=True)
