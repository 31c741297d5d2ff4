"""The rung of rankings: by request or by group wherever its rows stand, with labels or the baseline's scores."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import ndcg_score

from mlserve.compare.ladder.ranking import Ranking
from mlserve.compare.pairs import Pairs


def pairs_of(expected, actual, rows_each, *, ids=None, **more) -> Pairs:
    ids = [f"r{number}" for number in range(len(rows_each))] if ids is None else ids
    outputs = [{"score": np.asarray(side, np.float64)} for side in (expected, actual)]
    return Pairs(ids, np.asarray(rows_each), outputs[0], outputs[1], inputs={}, **more)


def figures_of(*pairs: Pairs, k: int = 10) -> dict:
    rung = Ranking(k=k)
    for one in pairs:
        rung.add(one)
    return rung.figures()


def test_with_labels_the_figures_are_the_means_over_requests():
    rng = np.random.default_rng(1)
    expected, actual = rng.normal(size=(2, 40))
    labels = rng.integers(0, 4, 40)

    found = figures_of(pairs_of(expected, actual, [8] * 5, labels=labels), k=3)

    groups = [slice(start, start + 8) for start in range(0, 40, 8)]
    before, after = ([ndcg_score([labels[g]], [side[g]], k=3) for g in groups] for side in (expected, actual))
    ranking = found["ranking"]
    assert (ranking["gain"], ranking["groups"], ranking["k"]) == ("labels", 5, 3)
    assert ranking["ndcg"]["before"] == pytest.approx(np.mean(before))
    assert ranking["ndcg"]["after"] == pytest.approx(np.mean(after)) == found["metrics"]["ndcg@3"]
    assert found["metrics"]["ndcg@3_drop"] == pytest.approx(np.mean(before) - np.mean(after))
    assert ranking["ndcg"]["interval"][0] < ranking["ndcg"]["difference"] < ranking["ndcg"]["interval"][1]
    taus = [kendalltau(expected[g], actual[g]).statistic for g in groups]
    assert found["metrics"]["kendall_tau_b"] == pytest.approx(np.mean(taus))


def test_without_labels_the_gain_is_the_baselines_score_less_its_lowest():
    expected, actual = np.array([-3.0, 2.0, 0.5]), np.array([1.0, 0.0, 2.0])

    found = figures_of(pairs_of(expected, actual, [3]))["ranking"]

    assert found["gain"] == "baseline"
    assert found["ndcg"]["before"] == found["mrr"]["before"] == 1
    assert found["ndcg"]["after"] == pytest.approx(ndcg_score([expected + 3], [actual]))
    assert found["mrr"]["after"] == pytest.approx(1 / 3)


def test_the_same_scores_lose_nothing():
    scores = np.random.default_rng(1).normal(size=30)

    metrics = figures_of(pairs_of(scores, scores, [10, 10, 10]))["metrics"]

    # Sums of 30 rounded products.
    assert metrics == pytest.approx(
        {
            "ndcg@10": 1,
            "ndcg@10_before": 1,
            "ndcg@10_drop": 0,
            "mrr": 1,
            "mrr_before": 1,
            "mrr_drop": 0,
            "kendall_tau_b": 1,
            "rbo": 1,
        }
    )


def test_a_group_spread_over_requests_and_pairs_is_one():
    rng = np.random.default_rng(2)
    expected, actual = rng.normal(size=(2, 12))
    queries = np.array(["a", "b", "a", "c", "b", "a"] * 2)
    order = np.argsort(queries, kind="stable")
    together = figures_of(pairs_of(expected[order], actual[order], [6, 4, 2]))

    spread = figures_of(
        *(
            pairs_of(expected[p], actual[p], [1] * 4, groups=queries[p])
            for p in (slice(0, 4), slice(4, 8), slice(8, 12))
        )
    )

    assert spread["metrics"] == pytest.approx(together["metrics"])


def test_a_request_in_pieces_is_one_group():
    expected, actual = np.random.default_rng(3).normal(size=(2, 9))

    pieces = figures_of(
        pairs_of(expected[:4], actual[:4], [4], ids=["big"], first_rows=np.array([0])),
        pairs_of(expected[4:8], actual[4:8], [4], ids=["big"], first_rows=np.array([4])),
        pairs_of(expected[8:], actual[8:], [1], ids=["big"], first_rows=np.array([8])),
    )

    assert pieces["metrics"] == pytest.approx(figures_of(pairs_of(expected, actual, [9], ids=["big"]))["metrics"])


def test_rows_without_a_label_or_a_group_are_left_out():
    labels = np.ma.masked_array([1.0, 0.0, 3.0, 0.0], mask=[False, False, True, False])
    groups = np.array(["q", "q", "q", None], object)

    found = figures_of(pairs_of([3.0, 1, 9, 9], [1.0, 3, 9, 9], [4], labels=labels, groups=groups))["ranking"]

    assert found["rows"] == 3
    assert found["ndcg"]["before"] == 1
    assert found["ndcg"]["after"] == pytest.approx(1 / np.log2(3))


def test_two_columns_rank_by_the_second_where_groups_say_what_is_ranked():
    expected = np.array([[0.9, 0.1], [0.2, 0.8]])
    ungrouped = pairs_of(expected, expected, [2])

    grouped = pairs_of(expected, expected, [2], groups=np.zeros(2), labels=np.array([0, 1]))

    assert figures_of(ungrouped)["ranking"] is None
    assert figures_of(grouped)["metrics"]["ndcg@10"] == 1


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(pairs_of([0.1, 0.2], [0.1, 0.2], [1, 1]), id="one row a request"),
        pytest.param(pairs_of([], [], []), id="no rows"),
        pytest.param(pairs_of(np.ones((2, 3)), np.ones((2, 3)), [2]), id="three columns"),
        pytest.param(
            Pairs(["a"], np.array([2]), *[{"label": np.array([0, 1]), "p": np.array([0.1, 0.9])}] * 2, inputs={}),
            id="a label decides",
        ),
    ],
)
def test_where_nothing_is_ranked_there_is_no_figure(pairs: Pairs):
    assert figures_of(pairs) == {"ranking": None, "metrics": {}}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], id="constant before"),
        pytest.param([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], id="constant after"),
        pytest.param([np.nan, np.nan, np.nan], [1.0, 2.0, 3.0], id="NaN before"),
        pytest.param([1.0, 2.0, 3.0], [np.nan, np.inf, -np.inf], id="no numbers after"),
    ],
)
def test_scores_that_rank_nothing_leave_figures_that_are_json(expected, actual):
    found = figures_of(pairs_of(expected, actual, [3]))

    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(st.integers(0, 1000), st.booleans())
def test_parts_merged_and_sent_are_the_whole(seed: int, is_labelled: bool):
    rng = np.random.default_rng(seed)
    rows = 150
    expected, actual = rng.normal(size=(2, rows)).round(1)
    groups, labels = rng.integers(0, 25, rows), rng.integers(0, 3, rows)
    # A bound that some groups fall to, and a size that some exceed.
    whole, merged = (Ranking(k=3, max_rows=80, max_group_rows=9) for _ in range(2))

    def pairs(rows_of: np.ndarray) -> Pairs:
        truth = labels[rows_of] if is_labelled else None
        each = np.ones(len(rows_of), int)
        return pairs_of(expected[rows_of], actual[rows_of], each, groups=groups[rows_of], labels=truth)

    whole.add(pairs(np.arange(rows)))
    for part in np.array_split(rng.permutation(rows), 4):
        one = Ranking(k=3, max_rows=80, max_group_rows=9)
        one.add(pairs(part))
        merged.merge(Ranking.from_state(one.state()))

    assert merged.figures() == whole.figures()
    # What is in the sample is whole groups that fit.
    group, sampled = whole._rows.rows()
    sizes = np.bincount(groups)
    assert set(np.bincount(group).tolist()) <= set(sizes[sizes <= 9].tolist())
    assert len(sampled) <= 80


def test_what_is_left_out_is_counted():
    rung = Ranking(max_rows=20, max_group_rows=5)
    scores = np.arange(70.0)
    rung.add(pairs_of(scores, scores, [2] * 30 + [10]))

    found = rung.figures()["ranking"]

    assert found["left_out"]["rows"] == 70 - found["rows"]
    assert found["groups"] in (7, 10)  # the large one counts as five rows, if it is below the threshold
    assert found["left_out"]["groups_too_large"] == (found["groups"] == 7)


def test_a_request_that_stands_for_many_counts_as_many():
    pairs = pairs_of([1.0, 2, 1, 2], [1.0, 2, 2, 1], [2, 2], weights=np.array([3.0, 1.0]))

    assert figures_of(pairs)["metrics"]["kendall_tau_b"] == pytest.approx((3 * 1 + 1 * -1) / 4)
