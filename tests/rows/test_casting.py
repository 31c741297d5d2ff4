"""Raw values as the types that models take."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.rows.casting import cast

integers = [dtype for dtype in DType if dtype.is_integer]
finite = st.floats(-1e4, 1e4)


def as_type(values, dtype: DType, start: int = 0):
    return cast(np.asarray(values), dtype, where="'f.csv', column 'a'", start=start)


@pytest.mark.parametrize("dtype", [d for d in DType if d is not DType.STRING])
def test_ones_are_ones_in_every_type(dtype: DType):
    for ones in (np.ones(2), np.ones(2, np.int64), np.ones(2, bool), np.ones(2, dtype.numpy)):
        result = as_type(ones, dtype)

        assert result.dtype == dtype.numpy
        assert result.astype(np.complex128).tolist() == [1, 1]


@given(st.sampled_from(integers), st.integers(-(2**63), 2**63 - 1))
def test_an_integer_keeps_its_value_or_is_refused(dtype: DType, value: int):
    try:
        result = as_type(np.array([value]), dtype)
    except InvalidInput as error:
        refused = error
    else:
        assert int(result[0]) == value
        return
    assert f"{value} is not a whole number that fits {dtype}" in refused.message


@given(st.sampled_from(integers), st.floats())
def test_a_float_becomes_an_integer_only_if_it_is_whole(dtype: DType, value: float):
    try:
        result = as_type([value], dtype)
    except InvalidInput:
        return
    assert int(result[0]) == value


def test_the_edge_of_an_integer_type_is_exact():
    assert as_type([float(2**62)], DType.INT64).tolist() == [2**62]
    assert as_type([float(2**63)], DType.UINT64).tolist() == [2**63]
    with pytest.raises(InvalidInput, match="fits int64"):
        as_type([float(2**63)], DType.INT64)


@given(hnp.arrays(np.float64, 3, elements=finite))
def test_a_float_is_rounded_to_the_narrower_type(values):
    np.testing.assert_array_equal(as_type(values, DType.FLOAT32), values.astype(np.float32))
    np.testing.assert_array_equal(as_type(values, DType.BFLOAT16), values.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16])
def test_special_numbers_stay_special(dtype: DType):
    result = as_type([np.nan, np.inf, -np.inf], dtype).astype(np.float64)

    np.testing.assert_array_equal(result, [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("values", "dtype", "fact"),
    [
        pytest.param([1.0, 1e39], DType.FLOAT32, "row 2 .*: 1e[+]39 is out of the range of float32", id="overflow"),
        pytest.param([70000], DType.FLOAT16, "70000 is out of the range of float16", id="integer overflow"),
        pytest.param([1e9], DType.FLOAT8E4M3FN, "out of the range of float8_e4m3fn", id="overflow to nan"),
        pytest.param([1.0, np.nan], DType.INT64, "row 2 .*: null is not a whole number", id="null integer"),
        pytest.param([2], DType.BOOL, "2 is not true or false", id="no boolean"),
        pytest.param([np.nan], DType.BOOL, "null is not true or false", id="null boolean"),
        pytest.param(np.array([None, True]), DType.BOOL, "row 1 .*: null is not true or false", id="null in objects"),
        pytest.param([1 + 1j], DType.FLOAT32, "is complex and not float32", id="complex"),
        pytest.param(np.array(["x"], object), DType.FLOAT32, "'x' is not a number", id="text"),
        pytest.param(np.array(["x" * 99], object), DType.FLOAT32, "'x{59}… is not a number", id="long text"),
        pytest.param(np.array([True, "x"], object), DType.BOOL, "row 2 .*: 'x' is not a number", id="text in bools"),
        pytest.param(np.array(["a", None], object), DType.STRING, "row 2 .*: null is not text", id="null text"),
        pytest.param(np.array([True], object), DType.STRING, "True is not text", id="a boolean as text"),
        pytest.param([3], DType.STRING, "3 is not text", id="a number as text"),
        pytest.param(np.array(["2020"], "M8[Y]"), DType.FLOAT32, "holds datetime64.*, not numbers", id="dates"),
        pytest.param(np.zeros(1, "V3"), DType.BFLOAT16, "holds [|]V3, not numbers", id="nameless bytes"),
    ],
)
def test_what_would_be_lost_is_named(values, dtype: DType, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        as_type(values, dtype)


def test_rows_are_counted_from_the_start_of_the_file():
    with pytest.raises(InvalidInput, match=r"row 103 of 'f\.csv', column 'a': 'x' is not a number"):
        as_type(np.array([[True, True], [False, True], [True, "x"]], object), DType.BOOL, start=100)


def test_null_booleans_become_nan_where_floats_are_taken():
    np.testing.assert_array_equal(as_type(np.array([True, None], object), DType.FLOAT32), [1.0, np.nan])


def test_a_complex_number_without_imaginary_part_is_a_number():
    assert as_type([2 + 0j], DType.INT8).tolist() == [2]


def test_text_is_kept_as_it_is():
    assert as_type(np.array([["a"], ["1"]], object), DType.STRING).tolist() == [["a"], ["1"]]


def test_bfloat16_as_numpy_saved_it_gets_its_name_back():
    values = np.array([1.5, -2.0], ml_dtypes.bfloat16)

    result = as_type(values.view("V2"), DType.BFLOAT16)

    assert result.tolist() == values.tolist()


def test_a_narrow_float_becomes_a_wide_one():
    assert as_type(np.array([1.5], ml_dtypes.bfloat16), DType.FLOAT32).tolist() == [1.5]


def test_a_value_of_no_rows_is_named_as_the_first():
    with pytest.raises(InvalidInput, match="row 1 of"):
        as_type(np.array(np.nan), DType.INT64)
