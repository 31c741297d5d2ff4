"""Agreement by the contract, and what is behind it."""

import numpy as np
import pytest
from hypothesis import given, settings

from mlserve.compare.labels import Agreement, agreement
from mlserve.compare.ladder.confusion import MAX_PAIRS, Confusion
from mlserve.compare.ladder.decisions import Decisions
from tests.compare.ladder.pairs_of import classifier, cuts, pairs_of, pieces


def decided(*parts, top_k=5):
    decisions = Decisions(top_k=top_k)
    for part in parts:
        decisions.add(part)
    return decisions


@given(cuts)
@settings(max_examples=30)
def test_agreement_is_the_one_of_the_contract(cut):
    rows, seed, at = cut
    pairs = classifier(rows + 1, seed, noise=0.1)

    assert decided(*pieces(pairs, at)).agreement() == agreement(pairs.expected, pairs.actual)


def test_one_number_a_row_beyond_a_probability_decides_nothing_wherever_it_comes():
    inside, beyond = pairs_of({"y": [0.2]}, {"y": [0.7]}), pairs_of({"y": [7.0]}, {"y": [7.0]})

    assert decided(inside).agreement() == Agreement(0, 1)
    assert decided(inside, beyond).figures() is None
    assert decided(beyond, inside).figures() is None


def test_a_missing_output_disagrees_everywhere():
    found = decided(pairs_of({"label": [1, 2]}, {"other": [1, 2]})).figures()

    assert (found["positions"], found["agree"], found["missing"]) == (2, 0, 2)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.array([3, 5, 5, 3]), id="integers"),
        pytest.param(np.array([3, 5, 5, 3], np.uint64) + np.uint64(2**63), id="large unsigned"),
        pytest.param(np.array([-(10**15), 10**15, 10**15, -(10**15)]), id="far apart"),
        pytest.param(np.array([False, True, True, False]), id="booleans"),
        pytest.param(np.array(["a", "b", "b", "a"], object), id="text"),
    ],
)
def test_the_confusion_has_the_baseline_in_rows(labels):
    given = labels.copy()
    given[1] = labels[0]

    found = decided(pairs_of({"y": labels}, {"y": given})).figures()["confusion"]

    assert found == {"labels": sorted(set(labels.tolist())), "counts": [[2, 0], [1, 1]]}


def test_beyond_twenty_labels_the_rest_is_other():
    labels = np.repeat(np.arange(30), np.arange(30, 0, -1))

    found = decided(pairs_of({"y": labels}, {"y": labels})).figures()["confusion"]

    assert found["labels"] == [*range(20), "other"]
    assert found["counts"][-1][-1] == 55


def test_any_number_of_labels_is_counted_in_bounded_memory():
    confusion = Confusion()
    confusion.add(np.zeros(9, np.int64), np.zeros(9, np.int64))

    labels = np.arange(3 * MAX_PAIRS)
    confusion.add(labels, labels)

    found = confusion.figures()
    assert len(confusion.state()["pairs"]) <= MAX_PAIRS
    assert sum(map(sum, found["counts"])) == 9 + 3 * MAX_PAIRS
    assert found["counts"][0][0] == 10


def test_the_margin_is_the_gap_of_the_baselines_two_best_where_it_was_decided_otherwise():
    expected = {"label": [0, 0, 1], "scores": [[0.75, 0.25], [0.625, 0.375], [0.0, 1.0]]}
    actual = {"label": [1, 1, 1], "scores": [[0.25, 0.75], [0.375, 0.625], [0.0, 1.0]]}

    assert decided(pairs_of(expected, actual)).figures()["margin"] == {"disagreeing_p50": 0.25, "disagreeing_max": 0.5}


def test_the_top_classes_are_compared_as_sets():
    scores = np.array([[6.0, 5, 4, 3, 2, 1], [6.0, 5, 4, 3, 2, 1]])
    other = np.array([[5.0, 6, 4, 3, 2, 1], [6.0, 1, 4, 3, 2, 5]])

    found = decided(pairs_of({"y": scores}, {"y": other}), top_k=2).figures()["top_k"]

    assert found == {"k": 2, "overlap": 1.0, "same_set": 1.0} | {"overlap": 0.75, "same_set": 0.5}


def test_requests_that_stand_for_several_weigh_in_the_share_of_the_traffic():
    found = decided(pairs_of({"y": [1, 2]}, {"y": [1, 3]}, weights=[1, 3])).figures()

    assert (found["agree"], found["positions"], found["weighted_share"]) == (1, 2, 0.25)
