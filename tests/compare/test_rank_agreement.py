"""Kendall's τ-b against scipy's; rank-biased overlap against its definition over sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import ndcg_score

from mlserve.compare.rank_agreement import kendall_tau_b, rank_biased_overlap
from mlserve.compare.ranking import ndcg, reciprocal_rank

seeds = st.integers(0, 10_000)


def grouped(seed: int, largest: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two scores with ties, infinities and constants among them, and groups in no order."""
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 6))
    group = rng.permutation(np.repeat(np.arange(groups), rng.integers(1, largest, groups)))
    one, other = rng.normal(size=(2, len(group))).round(int(rng.integers(0, 3)))
    one[rng.random(len(group)) < 0.1] = rng.choice([np.inf, 0.0])
    return one, other, group


def overlap_by_sets(one: np.ndarray, other: np.ndarray, p: float = 0.9) -> float:
    """Webber, Moffat and Zobel's RBO_ext of two full rankings, depth by depth; ties have the best of their places."""
    rows = len(one)
    places = [[int((side > score).sum()) + 1 for score in side] for side in (one, other)]
    total = 0.0
    for depth in range(1, rows + 1):
        a, b = ({row for row in range(rows) if side[row] <= depth} for side in places)
        total += (2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0) * p**depth
    return (1 - p) / p * total + p**rows


@given(seeds)
def test_tau_b_is_scipys(seed: int):
    one, other, group = grouped(seed)

    found = kendall_tau_b(one, other, group)

    expected = [
        kendalltau(one[group == g], other[group == g]).statistic if (group == g).sum() > 1 else np.nan
        for g in range(group.max() + 1)
    ]
    assert found == pytest.approx(expected, nan_ok=True)


def test_tau_b_of_a_large_group_is_scipys():
    one, other = np.random.default_rng(1).normal(size=(2, 5000)).round(2)

    assert kendall_tau_b(one, one + other, np.zeros(5000, int))[0] == pytest.approx(
        kendalltau(one, one + other).statistic
    )


@given(seeds)
def test_overlap_is_that_of_the_sets(seed: int):
    one, other, group = grouped(seed)

    found = rank_biased_overlap(one, other, group)

    assert found == pytest.approx([overlap_by_sets(one[group == g], other[group == g]) for g in range(group.max() + 1)])


@given(seeds)
def test_a_ranking_agrees_with_itself_and_with_what_keeps_its_order(seed: int):
    one, _, group = grouped(seed)

    assert rank_biased_overlap(one, np.arctan(one), group) == pytest.approx(1.0)
    assert (np.nan_to_num(kendall_tau_b(one, np.arctan(one), group), nan=1.0) == 1.0).all()


def test_the_top_weighs_more_than_the_bottom():
    ranking = np.arange(20.0)
    top, bottom = ranking.copy(), ranking.copy()
    top[[-1, -2]], bottom[[0, 1]] = ranking[[-2, -1]], ranking[[1, 0]]
    group = np.zeros(20, int)

    assert rank_biased_overlap(ranking, top, group)[0] < rank_biased_overlap(ranking, bottom, group)[0] < 1
    assert kendall_tau_b(ranking, top, group) == kendall_tau_b(ranking, bottom, group)


def test_a_score_that_became_nan_ranks_last():
    one, other, group = np.array([3.0, 2.0, 1.0]), np.array([3.0, 2.0, np.nan]), np.zeros(3, int)

    assert kendall_tau_b(one, other, group).tolist() == [1.0]
    assert rank_biased_overlap(one, other, group) == pytest.approx([1.0])


def test_nothing_has_no_groups():
    nothing = np.zeros(0), np.zeros(0), np.zeros(0, int)

    assert len(kendall_tau_b(*nothing)) == len(rank_biased_overlap(*nothing)) == 0


@given(seeds, st.sampled_from([None, 1, 3]))
def test_ndcg_of_numbered_groups_is_scikit_learns(seed: int, cutoff: int | None):
    scores, _, group = grouped(seed)
    scores = np.nan_to_num(scores, posinf=99.0)
    relevance = np.random.default_rng(seed).integers(0, 3, len(group)).astype(float)

    found = ndcg(scores, relevance, group, cutoff)

    for number, value in enumerate(found):
        mine = group == number
        if not relevance[mine].any():
            assert np.isnan(value)
        elif mine.sum() > 1:
            assert value == pytest.approx(ndcg_score([relevance[mine]], [scores[mine]], k=cutoff))


@given(seeds)
def test_the_reciprocal_rank_is_the_mean_over_all_orders_of_ties(seed: int):
    scores, _, group = grouped(seed, largest=7)
    rng = np.random.default_rng(seed)
    relevant = rng.random(len(group)) < 0.4

    found = reciprocal_rank(scores, relevant, group)

    for number in range(group.max() + 1):
        mine = np.flatnonzero(group == number)
        if not relevant[mine].any():
            assert np.isnan(found[number])
            continue
        ranks = []
        for _ in range(400):
            order = mine[np.lexsort((rng.random(len(mine)), -scores[mine]))]
            ranks.append(1 / (np.flatnonzero(relevant[order])[0] + 1))
        # 400 draws with a spread of at most 0.5: five standard errors.
        assert found[number] == pytest.approx(np.mean(ranks), abs=5 * np.std(ranks) / 20 + 1e-9)
