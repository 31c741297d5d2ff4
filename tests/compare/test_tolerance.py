"""Differences, row by row, and merged over batches."""

import json
from dataclasses import asdict

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlserve.compare.tolerance import Difference, compare

floats = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
pairs = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.float32, shape), hnp.arrays(np.float32, shape))
)
tolerances = st.floats(0, 10)


@given(floats, tolerances, tolerances)
def test_any_output_is_identical_to_itself(array, rtol, atol):
    found = compare({"y": array}, {"y": array.copy()}, rtol=rtol, atol=atol)

    assert found == Difference(rows=len(array), identical_rows=len(array))


@given(pairs, tolerances, tolerances)
def test_numpys_own_verdict_is_reached(pair, rtol, atol):
    expected, actual = (array.astype(np.float64) for array in pair)

    found = compare({"y": expected}, {"y": actual}, rtol=rtol, atol=atol)

    close = np.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    assert found.rows_within == int(
        close.reshape(len(expected), -1).all(axis=1).sum() if expected.size else len(expected)
    )


@given(pairs, tolerances, st.integers(0, 5))
def test_batches_merge_to_the_whole(pair, atol, cut):
    expected, actual = pair
    whole = compare({"y": expected}, {"y": actual}, rtol=0.1, atol=atol)

    parts = [
        compare({"y": expected[part]}, {"y": actual[part]}, rtol=0.1, atol=atol, start=part.start)
        for part in (slice(0, cut), slice(cut, max(len(expected), cut)))
    ]

    assert parts[0].merge(parts[1]) == whole


@given(pairs, tolerances)
def test_every_figure_is_a_json_number(pair, rtol):
    found = compare({"y": pair[0]}, {"y": pair[1]}, rtol=rtol, atol=0)

    json.dumps(asdict(found), allow_nan=False)


def test_the_largest_gaps_and_the_worst_row_are_named():
    expected = {"a": np.array([1.0, 2.0, 4.0]), "b": np.array([[1.0], [1.0], [100.0]])}
    actual = {"a": np.array([1.0, 2.1, 4.0]), "b": np.array([[1.0], [1.0], [101.0]])}

    found = compare(expected, actual, rtol=0.02, atol=0, start=10)

    assert (found.rows, found.rows_over, found.identical_rows, found.worst_row) == (3, 1, 1, 11)
    assert found.max_abs == pytest.approx(1.0)
    assert found.max_rel == pytest.approx(0.05)


def test_the_nearest_to_the_limit_is_worst_where_none_is_over():
    found = compare({"y": np.array([1.0, 2.0])}, {"y": np.array([1.1, 2.3])}, rtol=0, atol=1)

    assert (found.rows_over, found.worst_row) == (0, 1)


@pytest.mark.parametrize(
    ("one", "other", "is_within"),
    [
        pytest.param(np.nan, np.nan, True, id="nan equals nan"),
        pytest.param(np.inf, np.inf, True, id="infinity equals itself"),
        pytest.param(np.inf, -np.inf, False, id="infinities of two signs"),
        pytest.param(1.0, np.nan, False, id="nan for a number"),
        pytest.param(np.nan, 1.0, False, id="a number for nan"),
        pytest.param(np.inf, 1e308, False, id="a number for infinity"),
        pytest.param(1e308, -1e308, False, id="a gap beyond the largest number"),
        pytest.param(0.0, -0.0, True, id="zeros of two signs"),
    ],
)
def test_special_numbers(one: float, other: float, is_within: bool):
    found = compare({"y": np.array([one])}, {"y": np.array([other])}, rtol=1e-3, atol=1e-3)

    assert found.rows_within == int(is_within)
    assert np.isfinite(found.max_abs)


def test_zeros_of_two_signs_are_close_but_not_identical():
    found = compare({"y": np.array([0.0])}, {"y": np.array([-0.0])}, rtol=0, atol=0)

    assert (found.rows_over, found.identical_rows) == (0, 0)


def test_a_wider_float_may_be_close_and_is_never_identical():
    narrow = np.array([0.5, 0.1], dtype=np.float32)

    found = compare({"y": narrow.astype(np.float64)}, {"y": narrow}, rtol=0, atol=0)

    assert (found.rows_over, found.identical_rows) == (0, 0)


@pytest.mark.parametrize(
    ("expected", "actual", "over"),
    [
        pytest.param(np.array([1, 2]), np.array([1, 3]), 1, id="integers"),
        pytest.param(np.array([1, 2], np.int64), np.array([1, 2], np.int32), 0, id="integers of two widths"),
        pytest.param(np.array([2**63 - 1]), np.array([2**63], np.uint64), 1, id="integers beyond float64"),
        pytest.param(np.array([True, False]), np.array([1, 0]), 0, id="booleans as integers"),
        pytest.param(np.array(["a", "b"]), np.array(["a", "c"], object), 1, id="text"),
        pytest.param(np.array([b"a"], object), np.array(["a"], object), 0, id="bytes as text"),
        pytest.param(np.array([1.0, 2.0]), np.array([1, 2]), 2, id="integers for floats"),
        pytest.param(np.array(["1"]), np.array([1]), 1, id="numbers for text"),
        pytest.param(np.zeros((2, 3)), np.zeros((2, 4)), 2, id="another width"),
        pytest.param(np.zeros((2, 1)), np.zeros(2), 2, id="another rank"),
        pytest.param(np.zeros(2), np.zeros(3), 2, id="another number of rows"),
        pytest.param(np.array([1 + 1j]), np.array([1 + 1.5j]), 1, id="complex"),
        pytest.param(np.array(["2020"], "M8[Y]"), np.array(["2021"], "M8[Y]"), 1, id="dates"),
        pytest.param(np.array([1, 2], ml_dtypes.bfloat16), np.array([1, 2.5], ml_dtypes.bfloat16), 1, id="bfloat16"),
        pytest.param(np.array([1, 2], ml_dtypes.int4), np.array([1, 3], ml_dtypes.int4), 1, id="int4"),
    ],
)
def test_kinds(expected, actual, over: int):
    found = compare({"y": expected}, {"y": actual}, rtol=0.1, atol=0.1)

    assert (found.rows, found.rows_over) == (len(expected), over)


def test_equal_text_is_identical_whatever_holds_it():
    found = compare({"y": np.array(["a", "bb"])}, {"y": np.array(["a", "bb"], object)}, rtol=0, atol=0)

    assert found.identical_rows == 2


def test_a_missing_output_puts_every_row_over():
    found = compare({"a": np.zeros(3), "b": np.zeros(3)}, {"a": np.zeros(3)}, rtol=1, atol=1)

    assert (found.rows_over, found.identical_rows, found.worst_row) == (3, 0, 0)


def test_an_output_that_nobody_expected_is_not_judged():
    assert compare({"a": np.zeros(3)}, {"a": np.zeros(3), "b": np.ones(9)}, rtol=0, atol=0).rows_over == 0


def test_an_output_without_rows_counts_for_all_of_them():
    expected = {"y": np.zeros((3, 2)), "total": np.array(1.0)}
    actual = {"y": np.zeros((3, 2)), "total": np.array(2.0)}

    assert compare(expected, actual, rtol=0, atol=0).rows_over == 3


def test_a_lone_scalar_is_one_row():
    found = compare({"y": np.array(1.0)}, {"y": np.array(1.0)}, rtol=0, atol=0)

    assert (found.rows, found.identical_rows) == (1, 1)


def test_nothing_differs_from_nothing():
    assert compare({}, {}, rtol=0, atol=0) == Difference()


def test_rows_without_values_are_identical():
    found = compare({"y": np.zeros((2, 0))}, {"y": np.zeros((2, 0))}, rtol=0, atol=0)

    assert (found.rows, found.identical_rows) == (2, 2)
