"""Agreement of decisions."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlserve.compare.labels import Agreement, agreement
from mlserve.errors import InvalidInput, Unsupported

scores = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(1, 3), st.integers(2, 4)))


@given(scores)
def test_any_output_agrees_with_itself_at_every_position(array):
    assert agreement({"p": array}, {"p": array}) == Agreement(array.shape[0] * array.shape[1], array[..., 0].size)


@given(scores, st.integers(0, 6))
def test_batches_merge_to_the_whole(array, cut):
    other = array[..., ::-1]

    parts = [agreement({"p": array[part]}, {"p": other[part]}) for part in (slice(0, cut), slice(cut, None))]

    assert parts[0].merge(parts[1]) == agreement({"p": array}, {"p": other})


def test_labels_are_compared_before_scores():
    expected = {"p": np.array([[0.9, 0.1], [0.9, 0.1]]), "label": np.array([0, 0])}
    actual = {"p": np.array([[0.1, 0.9], [0.1, 0.9]]), "label": np.array([0, 1])}

    assert agreement(expected, actual) == Agreement(1, 2)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param(np.array(["a", "b"]), np.array(["a", "c"], object), id="text"),
        pytest.param(np.array([True, False]), np.array([True, True]), id="booleans"),
        pytest.param(np.array([1, 2], np.int64), np.array([1, 3], np.int32), id="integers of two widths"),
        pytest.param(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.7, 0.3]]), id="scores"),
        pytest.param(np.array([[0.9], [0.2]]), np.array([[0.6], [0.7]]), id="one probability a row"),
        pytest.param(np.array([0.9, 0.2]), np.array([0.6, 0.7]), id="probabilities of rank 1"),
        pytest.param(np.array([0.9, 0.2], ml_dtypes.bfloat16), np.array([0.6, 0.7], ml_dtypes.bfloat16), id="bfloat16"),
        pytest.param(np.array([[np.nan, 0.1], [0.2, 0.8]]), np.array([[np.nan, 0.1], [np.nan, 0.8]]), id="nan"),
        pytest.param(np.array([np.nan, 0.8]), np.array([np.nan, np.nan]), id="nan for a probability"),
    ],
)
def test_one_of_two_positions_agrees(expected, actual):
    assert agreement({"y": expected}, {"y": actual}) == Agreement(1, 2)


def test_an_overflow_to_nan_agrees_with_nothing():
    assert agreement({"p": np.eye(3)}, {"p": np.full((3, 3), np.nan)}) == Agreement(0, 3)


@pytest.mark.parametrize(
    "actual",
    [
        pytest.param({}, id="missing"),
        pytest.param({"y": np.array([1, 2, 3])}, id="another number of rows"),
        pytest.param({"y": np.array([1.0, 2.0])}, id="another kind"),
    ],
)
def test_what_cannot_be_compared_agrees_nowhere(actual):
    assert agreement({"y": np.array([1, 2])}, actual) == Agreement(0, 2)


def test_numbers_of_a_regression_decide_nothing():
    with pytest.raises(Unsupported, match="output 'y' is one number a row and not a probability") as caught:
        agreement({"y": np.array([[1.5], [200.0]])}, {"y": np.array([[1.5], [200.0]])})

    assert caught.value.hint == "--metric rmse or --metric mae measures numbers"


def test_outputs_that_hold_no_decision_are_named():
    with pytest.raises(Unsupported, match="none of the outputs z is a label or a score"):
        agreement({"z": np.array([1j])}, {"z": np.array([1j])})


def test_scores_of_no_class_decide_nothing_alike():
    assert agreement({"p": np.zeros((2, 0))}, {"p": np.zeros((2, 0))}) == Agreement(2, 2)


def test_a_lone_probability_is_one_position():
    assert agreement({"p": np.array(0.9)}, {"p": np.array(0.8)}) == Agreement(1, 1)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(InvalidInput, match="no rows to compare"):
        _ = Agreement().share


def test_a_share_is_between_0_and_1():
    assert Agreement(1, 4).share == 0.25
