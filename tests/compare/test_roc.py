"""AUC against scikit-learn's, and its interval against the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlserve.compare.roc import Side, paired_auc


@given(st.integers(0, 10_000), st.sampled_from([0, 1, 8]))
def test_both_are_scikit_learns_with_ties_and_weights(seed: int, decimals: int):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, int(rng.integers(0, 40)))])
    before, after = rng.normal(size=(2, len(labels))).round(decimals)
    weights = rng.integers(1, 5, len(labels)).astype(float)

    found = paired_auc(*(Side(before[m], after[m], weights[m]) for m in (labels == 1, labels == 0)))

    assert found.before == pytest.approx(roc_auc_score(labels, before, sample_weight=weights))
    assert found.after == pytest.approx(roc_auc_score(labels, after, sample_weight=weights))


def test_the_variance_is_that_of_delong_by_its_definition():
    rng = np.random.default_rng(1)
    ones, zeros = rng.normal(1, 1, (2, 15)).round(1), rng.normal(0, 1, (2, 20)).round(1)

    found = paired_auc(Side(*ones, np.ones(15)), Side(*zeros, np.ones(20)))

    wins = [(x[:, None] > y) + 0.5 * (x[:, None] == y) for x, y in zip(ones, zeros, strict=True)]
    placed, placing = np.cov([w.mean(axis=1) for w in wins]), np.cov([w.mean(axis=0) for w in wins])
    covariance = placed / 15 + placing / 20
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=1e-4)


def test_the_interval_holds_the_truth_19_times_of_20():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        ones, zeros = (rng.normal(mean, 1, (60, 1)) + rng.normal(0, [[0.5, 1.5]], (60, 2)) for mean in (1, 0))
        sides = [Side(*side.T, np.ones(60)) for side in (ones, zeros)]
        low, high = paired_auc(*sides).interval
        # P(N(1, 2 s²) > 0) with s² = 1.25 and 3.25.
        held += low <= 0.651 - 0.736 <= high

    # 380 of 400 with a standard error of 4.4.
    assert held >= 366


def test_one_row_of_a_class_has_no_interval():
    assert paired_auc(Side(*np.ones((3, 1))), Side(*np.zeros((2, 3)), np.ones(3))).interval is None
