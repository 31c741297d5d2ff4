"""The rung of score distributions: which score, how it is compared, and that parts make the whole."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, wasserstein_distance

from mlserve.compare.ladder.distributions import POINTS, Distributions
from mlserve.compare.pairs import Pairs


def pairs_of(expected, actual, *, start: int = 0, name: str = "score", **more) -> Pairs:
    """One row a request, ids counting from ``start``."""
    rows = len(expected)
    return Pairs(
        request_ids=[f"r{start + row}" for row in range(rows)],
        rows_each=np.ones(rows, np.int64),
        expected={name: np.asarray(expected)},
        actual={name: np.asarray(actual)},
        inputs={},
        **more,
    )


def figures_of(expected, actual, **more) -> dict:
    rung = Distributions()
    rung.add(pairs_of(expected, actual, **more))
    return rung.figures()["distribution"]


@given(st.integers(0, 1000), st.sampled_from([np.float16, np.float32, np.float64]))
def test_figures_are_scipys(seed: int, dtype):
    rng = np.random.default_rng(seed)
    expected, actual = rng.normal(size=(2, 80, 1)).round(1).astype(dtype)

    found = figures_of(expected, actual)

    sides = expected.ravel().astype(float), actual.ravel().astype(float)
    assert found["ks"] == pytest.approx(ks_2samp(*sides, method="asymp").statistic)
    assert found["wasserstein"] == pytest.approx(wasserstein_distance(*sides))


def test_the_same_answers_are_at_no_distance():
    scores = np.random.default_rng(1).random(500)

    found = figures_of(scores, scores)

    assert [found[name] for name in ("ks", "wasserstein", "psi", "js")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("expected", "what", "scores"),
    [
        pytest.param([[0.2], [0.4]], "value", [0.2, 0.4], id="one column"),
        pytest.param([0.2, 0.4], "value", [0.2, 0.4], id="no column"),
        pytest.param([[0.9, 0.1], [0.2, 0.8]], "positive class", [0.1, 0.8], id="two classes"),
        pytest.param([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], "top score", [0.5, 0.7], id="three classes"),
    ],
)
def test_the_score_is_the_one_that_is_said(expected, what: str, scores: list[float]):
    found = figures_of(np.array(expected), np.array(expected))

    assert found["score"] == what
    assert [value for value, _ in found["curves"]["expected"]] == scores


def test_what_is_no_number_is_counted_and_left_out():
    found = figures_of([0.1, np.nan, 0.3, np.inf], [0.1, 0.2, np.nan, np.nan])

    assert found["not_finite"] == {"expected": 2, "actual": 2}
    assert found["curves"]["expected"] == [[0.1, 0.5], [0.3, 1.0]]


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(pairs_of(np.array(["a"]), np.array(["a"])), id="text"),
        pytest.param(pairs_of([np.nan], [0.5]), id="only NaN"),
        pytest.param(pairs_of(np.zeros(0), np.zeros(0)), id="no rows"),
        pytest.param(pairs_of([[0.1, 0.2]], [[0.1, 0.2, 0.3]]), id="another shape"),
    ],
)
def test_where_there_is_no_score_there_is_no_figure(pairs: Pairs):
    rung = Distributions()
    rung.add(pairs)

    assert rung.figures() == {"distribution": None, "metrics": {}}
    assert Distributions().figures() == {"distribution": None, "metrics": {}}


@given(st.integers(0, 1000))
def test_parts_merged_and_sent_are_the_whole(seed: int):
    rng = np.random.default_rng(seed)
    expected, actual, weights = rng.normal(size=90), rng.normal(size=90), rng.integers(1, 4, 90)
    whole, merged = Distributions(cap=40), Distributions(cap=40)
    whole.add(pairs_of(expected, actual, weights=weights))

    for start, stop in ((50, 90), (0, 7), (7, 50)):
        part = slice(start, stop)
        one = Distributions(cap=40)
        one.add(pairs_of(expected[part], actual[part], start=start, weights=weights[part]))
        merged.merge(Distributions.from_state(one.state()))

    assert merged.figures() == whole.figures()


def test_an_output_that_few_asked_for_is_not_mixed_in():
    rung = Distributions()
    rung.add(pairs_of(np.full(3, 9.0), np.full(3, 8.0), name="other"))
    rung.add(pairs_of(np.full(5, 0.5), np.full(5, 0.5), start=3))

    found = rung.figures()["distribution"]

    assert (found["output"], found["rows"], found["ks"]) == ("score", 5, 0)


def test_a_row_that_stands_for_many_counts_as_many():
    found = figures_of([0.0, 1.0], [0.0, 1.0], weights=np.array([3, 1]))

    assert found["curves"]["expected"] == [[0.0, 0.75], [1.0, 1.0]]


def test_curves_are_short_and_all_is_json():
    scores = np.random.default_rng(1).normal(size=(2, 30_000))
    rung = Distributions()
    rung.add(pairs_of(*scores))

    figures = rung.figures()
    curve = figures["distribution"]["curves"]["expected"]

    assert len(curve) <= POINTS
    assert curve == sorted(curve)
    assert curve[-1][1] == 1.0
    assert figures["distribution"]["sample"] == Distributions().cap < figures["distribution"]["rows"] == 30_000
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
