"""NDCG, against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from mlserve.compare.quality import evaluate
from mlserve.compare.ranking import ndcg_by_group
from mlserve.errors import InvalidInput, UsageError


@given(st.integers(0, 10_000), st.sampled_from([None, 1, 3, 10]))
def test_every_groups_value_is_scikit_learns_with_ties(seed: int, cutoff: int | None):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, 6)
    groups = np.repeat(rng.permutation(6), sizes)
    scores, relevance = rng.normal(size=len(groups)).round(1), rng.integers(0, 4, len(groups)).astype(float)
    mixed = rng.permutation(len(groups))

    found = ndcg_by_group(scores[mixed], relevance[mixed], groups[mixed], cutoff)

    expected = [
        ndcg_score([relevance[groups == one]], [scores[groups == one]], k=cutoff)
        for one in range(6)
        if relevance[groups == one].any()
    ]
    assert found == pytest.approx(expected)


def test_groups_that_cannot_be_ranked_are_left_out():
    scores, relevance = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0, 1, 0, 0, 3])

    assert len(ndcg_by_group(scores, relevance, np.array(["a", "a", "b", "b", "c"], object))) == 1


def test_a_score_that_became_nan_ranks_last():
    assert ndcg_by_group(np.array([np.nan, -9.0]), np.array([0, 1]), np.array([1, 1])).tolist() == [1.0]


def test_the_metric_is_the_mean_over_groups_and_takes_a_cutoff():
    outputs = {"score": np.array([[0.1], [0.9], [0.5], [0.4]], np.float32)}
    labels, groups = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])

    assert evaluate("ndcg", outputs, None, labels, groups) == pytest.approx((1 / np.log2(3) + 1) / 2)
    assert evaluate("ndcg@1", outputs, None, labels, groups) == 0.5


def test_two_columns_rank_by_the_second():
    outputs = {"p": np.array([[0.9, 0.1], [0.2, 0.8]])}

    assert evaluate("ndcg", outputs, None, np.array([0, 1]), np.array([0, 0])) == 1.0


@pytest.mark.parametrize(
    ("labels", "groups", "fact"),
    [
        pytest.param(np.array([0, 1]), None, "needs labels and groups", id="no groups"),
        pytest.param(np.array([-1, 1]), np.array([0, 0]), "0 and more", id="negative"),
        pytest.param(np.array([0, 0]), np.array([0, 0]), "one is relevant", id="nothing relevant"),
        pytest.param(np.array(["a", "b"]), np.array([0, 0]), "numbers", id="text"),
    ],
)
def test_what_cannot_be_ranked_is_invalid(labels: np.ndarray, groups: np.ndarray | None, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        evaluate("ndcg", {"s": np.array([0.5, 0.1])}, None, labels, groups)


@pytest.mark.parametrize("name", ["ndcg@0", "ndcg@ten", "neighbours@", "accuracy@3"])
def test_a_cutoff_that_is_no_number_of_places_is_a_usage_error(name: str):
    with pytest.raises(UsageError):
        evaluate(name, {"s": np.array([0.5])}, None, np.array([1]), np.array([1]))
