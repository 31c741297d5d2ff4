"""The rows to look at."""

import json

import numpy as np

from mlserve.compare.ladder.worst import WorstRows
from mlserve.compare.pairs import Pairs
from tests.compare.ladder.pairs_of import pairs_of


def worst(pairs, count=50):
    rows = WorstRows(count=count)
    rows.add(pairs)
    return rows.figures()


def test_rows_decided_otherwise_come_first_then_the_farthest():
    expected = [[0.9, 0.1], [0.9, 0.1], [0.51, 0.49], [0.9, 0.1]]
    actual = [[0.8, 0.2], [0.6, 0.4], [0.49, 0.51], [0.9, 0.1]]

    found = worst(pairs_of({"p": expected}, {"p": actual}, {"amount": [1.5, 2.5, 3.5, 4.5]}))

    assert [(row["request_id"], row["inputs"]["amount"]) for row in found] == [("r2", 3.5), ("r1", 2.5), ("r0", 1.5)]
    assert (found[0]["expected"], found[0]["actual"]) == ({"p": [0.51, 0.49]}, {"p": [0.49, 0.51]})


def test_the_place_of_a_row_in_its_request_is_told_and_goes_on_over_pieces():
    pairs = Pairs(
        request_ids=["a", "empty", "b"],
        rows_each=np.array([2, 0, 3]),
        expected={"y": np.zeros(5)},
        actual={"y": np.array([0, 1, 0, 2, 0.0])},
        inputs={},
        first_rows=np.array([0, 0, 100]),
    )

    assert [(row["request_id"], row["row"]) for row in worst(pairs)] == [("b", 101), ("a", 1)]


def test_large_tensors_are_shown_in_part_and_nothing_is_beyond_json():
    images = np.arange(2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16)
    texts = np.array(["x" * 1000, b"\xff"], object)

    found = worst(pairs_of({"y": [1.0, 2.0]}, {"y": [np.nan, np.inf]}, {"image": images, "text": texts}))

    json.dumps(found, allow_nan=False)
    assert found[0]["inputs"]["image"]["shape"] == [16, 16]
    assert {row["actual"]["y"] for row in found} == {"nan", "inf"}
    assert max(len(row["inputs"]["text"]) for row in found) == 201


def test_what_was_kept_does_not_depend_on_the_order():
    rows = 500
    rng = np.random.default_rng(3)
    pairs = [pairs_of({"y": np.zeros(rows)}, {"y": rng.integers(0, 3, rows) * 1.0}, start=at) for at in (0, 10**6)]

    forward, backward = WorstRows(count=7), WorstRows(count=7)
    for one in pairs:
        forward.add(one)
    for one in reversed(pairs):
        backward.add(one)

    assert forward.figures() == backward.figures()
    assert len(forward.figures()) == 7
