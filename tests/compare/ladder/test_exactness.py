"""Rows equal to the bit and within tolerance, and the gaps of each output."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlserve.compare.ladder.exactness import Exactness
from mlserve.compare.ladder.judging import LARGEST, Limits, judge
from mlserve.compare.ladder.ulps import ulp_distance
from mlserve.compare.tolerance import compare
from tests.compare.ladder.pairs_of import pairs_of


def figures(expected, actual, limits=None):
    exactness = Exactness(limits)
    exactness.add(pairs_of({"y": expected}, {} if actual is None else {"y": actual}))
    return exactness.figures()


pairs = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.float32, shape), hnp.arrays(np.float32, shape))
)


@given(pairs, st.floats(0, 10), st.floats(0, 1))
def test_it_counts_what_the_parity_check_counts(pair, atol, rtol):
    known = compare({"y": pair[0]}, {"y": pair[1]}, rtol=rtol, atol=atol)

    found = figures(*pair, Limits(atol, rtol))

    assert (found["identical"], found["within_tolerance"]) == (known.identical_rows, known.rows_within)
    assert found["outputs"][0]["max_abs"] == known.max_abs
    assert found["outputs"][0]["max_rel"] == pytest.approx(known.max_rel, rel=1e-12)


@given(st.sampled_from(["f2", "f4", "f8"]).flatmap(lambda kind: hnp.arrays(kind, (8,), elements={"allow_nan": False})))
def test_a_neighbour_is_one_step_away_across_zero_too(values):
    with np.errstate(all="ignore"):
        neighbours = np.nextafter(values, np.array(-np.inf, values.dtype))

    assert ulp_distance(values, neighbours).tolist() == [int(value != -np.inf) for value in values]


def test_bfloat16_steps_are_counted_in_its_own_type():
    one = np.array([1.0, -2.0], ml_dtypes.bfloat16)

    assert ulp_distance(one, np.array([1.0078125, -1.9921875], np.float32)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("expected", "actual", "problem"),
    [
        pytest.param([1.0, 2.0], None, "missing", id="missing"),
        pytest.param([1.0, 2.0], [1, 2], "other_kind", id="kind"),
        pytest.param([1.0, 2.0], [[1.0], [2.0]], "other_shape", id="shape"),
    ],
)
def test_what_cannot_be_compared_is_not_within_any_tolerance(expected, actual, problem):
    found = figures(expected, actual, Limits(1e9, 1e9))

    assert (found["identical"], found["within_tolerance"], found["outputs"][0][problem]) == (0, 0, 2)


def test_nan_on_one_side_is_a_mismatch_and_on_both_is_none():
    found = figures([np.nan, np.nan, 1.0], [np.nan, 1.0, np.nan], Limits(1e9, 1e9))

    assert (found["within_tolerance"], found["outputs"][0]["nan_mismatches"]) == (1, 2)


def test_infinity_is_only_near_itself():
    judged = judge(pairs_of({"y": [np.inf, np.inf, -np.inf]}, {"y": [np.inf, 1.0, np.inf]}), Limits(0, 1))

    assert judged.within.tolist() == [True, False, False]
    assert judged.distance.tolist() == [0, LARGEST, LARGEST]


def test_text_and_integers_are_within_tolerance_only_if_equal():
    assert figures(np.array(["a", "b"], object), np.array([b"a", b"c"], object), Limits(9, 9))["within_tolerance"] == 1
    assert figures([1, 2], [1, 3], Limits(9, 9))["within_tolerance"] == 1


def test_float64_answers_of_a_double_model_are_held_to_double_precision():
    near, far = 1.0 + 1e-15, 1.0 + 1e-9

    found = figures([1.0, 1.0], [near, far], Limits(precisions=("fp64", "fp64")))

    assert (found["identical"], found["within_tolerance"]) == (0, 1)


def test_half_precision_answers_may_be_neighbours():
    values = np.array([1000.0], np.float16)

    assert figures(values, np.nextafter(values, np.float16(np.inf)))["within_tolerance"] == 1


def test_an_output_without_rows_counts_for_all():
    found = Exactness()
    found.add(pairs_of({"y": [1.0, 2.0], "scale": 3.0}, {"y": [1.0, 2.0], "scale": 4.0}))

    assert (found.identical, found.within_tolerance) == (0, 0)


def test_an_answer_in_another_type_is_near_but_not_identical():
    found = figures(np.float32([0.1, 0.25]), np.float16([0.1, 0.25]), Limits(precisions=("fp32", "fp16")))

    assert (found["identical"], found["within_tolerance"], found["outputs"][0]["max_ulp"]) == (0, 2, 0)
