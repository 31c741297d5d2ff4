"""Bounded samples: exact up to their cap, the same in any order, unbiased beyond."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.stats.hashing import row_keys, text_keys, uniform, value_keys
from mlserve.stats.sampling import BottomK


def keys_of(rows: int) -> np.ndarray:
    return text_keys([f"request-{number}" for number in range(rows)])


def test_all_rows_are_there_up_to_the_cap():
    sample = BottomK(1, cap=100)

    sample.add(keys_of(100), np.arange(100.0), np.full(100, 2.0))

    assert sample.is_whole
    assert sorted(sample.rows().values[:, 0]) == list(range(100))
    assert (sample.rows().weights == 2).all()


@given(st.integers(0, 10_000), st.booleans())
def test_parts_merged_in_any_order_are_the_whole(seed: int, is_weighted: bool):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 400))
    keys, values = keys_of(rows), rng.normal(size=(rows, 2))
    weights = rng.integers(1, 5, rows).astype(float) if is_weighted else None
    whole = BottomK(2, cap=50)
    whole.add(keys, values, weights)

    merged = BottomK(2, cap=50)
    for part in np.array_split(rng.permutation(rows), int(rng.integers(1, 6))):
        one = BottomK(2, cap=50)
        one.add(keys[part], values[part], None if weights is None else weights[part])
        merged.merge(BottomK.from_state(one.state()))

    assert merged.seen == whole.seen == rows
    assert np.array_equal(merged.rows().values, whole.rows().values)
    assert np.array_equal(merged.rows().weights, whole.rows().weights)


def test_what_streams_in_is_what_comes_at_once():
    rng = np.random.default_rng(1)
    keys, values = keys_of(5000), rng.normal(size=(5000, 1))
    at_once, streamed = BottomK(1, cap=64), BottomK(1, cap=64)

    at_once.add(keys, values)
    for start in range(0, 5000, 37):
        streamed.add(keys[start : start + 37], values[start : start + 37])

    assert np.array_equal(at_once.rows().values, streamed.rows().values)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["each counts one", "each has its weight"])
def test_sums_over_a_sample_are_unbiased(is_weighted: bool):
    rng = np.random.default_rng(2)
    values = rng.normal(10, 3, 2000)
    weights = rng.integers(1, 20, 2000).astype(float) if is_weighted else np.ones(2000)
    sums = []
    for draw in range(200):
        sample = BottomK(1, cap=200)
        sample.add(text_keys([f"{draw}/{row}" for row in range(2000)]), values, weights)
        sums.append((sample.rows().values[:, 0] * sample.rows().weights).sum())

    # The mean of 200 draws lies within 4 of its standard errors.
    assert abs(np.mean(sums) - (values * weights).sum()) < 4 * np.std(sums) / np.sqrt(200)


def test_a_key_does_not_depend_on_what_else_is_in_the_batch():
    long = "x" * 500

    together = text_keys(["a", "ä", long, ""])

    assert together.tolist() == [int(text_keys([text])[0]) for text in ("a", "ä", long, "")]
    assert len(set(together.tolist())) == 4


def test_keys_of_ids_that_count_up_are_spread_evenly():
    counts = np.bincount((uniform(keys_of(20_000)) * 20).astype(int), minlength=20)

    # Chi-square of 19 degrees of freedom: 43.8 is exceeded once in 1000.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8


def test_a_request_in_pieces_has_the_keys_of_the_whole():
    whole = row_keys(text_keys(["a", "b"]), np.array([3, 5]))

    pieces = row_keys(text_keys(["b", "a", "b"]), np.array([2, 3, 3]), np.array([3, 0, 0]))

    assert set(pieces.tolist()) == set(whole.tolist())
    assert len(set(whole.tolist())) == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(np.array(["q1"]), np.array(["q1"], object), id="text and objects"),
        pytest.param(np.array([b"q1"], object), np.array(["q1"]), id="bytes"),
        pytest.param(np.array([5], np.int16), np.array([5], np.uint64), id="integers"),
        pytest.param(np.array([0.5], np.float32), np.array([0.5]), id="floats"),
        pytest.param(np.array([-0.0]), np.array([0.0]), id="zeros"),
    ],
)
def test_equal_values_have_equal_keys(one: np.ndarray, other: np.ndarray):
    assert value_keys(one).tolist() == value_keys(other).tolist()
