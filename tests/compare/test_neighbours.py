"""Neighbours kept, against the plain way of finding them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from mlserve.compare import neighbours
from mlserve.compare.neighbours import neighbours_kept
from mlserve.compare.quality import evaluate
from mlserve.errors import InvalidInput


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_the_share_is_that_of_scikit_learns_neighbours(seed: int, count: int):
    rng = np.random.default_rng(seed)
    expected = rng.normal(size=(40, 8))
    given_rows = expected + 0.3 * rng.normal(size=expected.shape)

    found = neighbours_kept(given_rows, expected, count)

    sets = [
        NearestNeighbors(n_neighbors=count + 1, metric="cosine").fit(rows).kneighbors(rows)[1][:, 1:]
        for rows in (given_rows, expected)
    ]
    assert found == pytest.approx([len({*a} & {*b}) / count for a, b in zip(*sets, strict=True)])


def test_rows_in_chunks_are_the_rows_at_once(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 101, 6))
    whole = neighbours_kept(one, other, 5)

    monkeypatch.setattr(neighbours, "CHUNK_VALUES", 700)

    assert neighbours_kept(one, other, 5) == pytest.approx(whole)


def test_equal_rows_may_take_each_others_place():
    expected = np.repeat(np.eye(3), 4, axis=0)
    shaken = expected + 1e-4 * np.random.default_rng(0).normal(size=expected.shape)

    assert neighbours_kept(shaken, expected, 2).tolist() == [1.0] * 12


def test_of_many_rows_some_are_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbours, "MAX_ROWS", 50)
    rows = np.random.default_rng(0).normal(size=(1000, 4))

    assert neighbours_kept(rows, rows, 3).tolist() == [1.0] * 50


def test_a_row_of_nan_has_lost_its_neighbours():
    rows = np.random.default_rng(0).normal(size=(200, 16))
    spoilt = np.full_like(rows, np.nan)

    assert neighbours_kept(spoilt, rows, 5).mean() < 0.2


def test_two_rows_have_no_neighbours_to_choose_from():
    with pytest.raises(InvalidInput, match="three rows or more"):
        neighbours_kept(np.eye(2), np.eye(2), 1)


def test_the_metric_is_the_mean_over_rows():
    rng = np.random.default_rng(0)
    one, other = {"e": rng.normal(size=(30, 4))}, {"e": rng.normal(size=(30, 4))}

    assert evaluate("neighbours", one, one, None) == 1.0
    assert evaluate("neighbours@3", one, other, None) == neighbours_kept(one["e"], other["e"], 3).mean()
