"""The k best classes: in order, with their values and labels, whatever the type and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ml_dtypes import bfloat16

from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.errors import InvalidInput
from mlserve.serving.oip.classification import best_classes, read_count

DTYPES = ("float16", "float32", "float64", "int8", "int64", "uint8", "uint64")


@given(hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=2, max_dims=3, max_side=5)), st.integers(1, 7))
def test_each_row_has_its_best_values_first(array: np.ndarray[Any, Any], count: int) -> None:
    best = best_classes(array, count, is_batched=True)

    flat = array.reshape(len(array), -1)
    assert best.shape == (len(array), min(count, flat.shape[1]))
    for row, texts in zip(flat, best.tolist(), strict=True):
        picked = [int(text.split(":")[1]) for text in texts]
        assert len(set(picked)) == len(picked)
        numbers = [value for value in row.tolist() if value == value]
        expected = sorted(numbers, reverse=True)[: len(picked)]
        assert [row[index] for index in picked][: len(expected)] == expected
        for text, index in zip(texts, picked, strict=True):
            np.testing.assert_equal(row.dtype.type(text.split(":")[0]), row[index])


def test_of_equal_values_the_first_comes_first_and_nan_last() -> None:
    row = np.float32([[np.nan, 1, 2, 2, -np.inf]])

    (texts,) = best_classes(row, 5, is_batched=True)
    assert [text.split(":")[1] for text in texts] == ["2", "3", "1", "4", "0"]


def test_labels_are_given_where_there_are_any() -> None:
    found = best_classes(np.int64([[1, 3, 2]]), 3, ("cat", "dog"), is_batched=True)

    assert found.tolist() == [["3:1:dog", "2:2", "1:0:cat"]]


def test_what_has_no_rows_is_one_list_of_classes() -> None:
    assert best_classes(np.float32([[0.5, 1.5]]), 1, is_batched=False).tolist() == ["1.5:1"]


def test_no_rows_have_no_classes() -> None:
    assert best_classes(np.empty((0, 4), np.float32), 2, is_batched=True).shape == (0, 2)


def test_brain_floats_and_booleans_are_numbers_too() -> None:
    assert best_classes(np.array([[1, 3]], bfloat16), 1, is_batched=True).tolist() == [["3.0:1"]]
    assert best_classes(np.array([[False, True]]), 2, is_batched=True).tolist() == [["1:1", "0:0"]]


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "3"])
def test_a_count_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(InvalidInput, match="not a number of classes"):
        read_count({"classification": count}, TensorSpec("y", DType.FLOAT32, ("n", 3)))


def test_texts_have_no_best() -> None:
    with pytest.raises(InvalidInput, match="no order"):
        read_count({"classification": 2}, TensorSpec("y", DType.STRING, ("n", 3)))
