"""All rungs as one: whatever the pieces and wherever they were learned, the figures are the same."""

import json

import numpy as np
import pytest
from hypothesis import given, settings

from mlserve.compare.ladder.comparison import Comparison, ComparisonPlan
from mlserve.compare.ladder.packing import pack, unpack
from mlserve.compare.pairs import Pairs
from mlserve.errors import CorruptArtefact, InvalidInput
from tests.compare.ladder.pairs_of import classifier, cuts, pieces


def learned(*parts):
    comparison = Comparison()
    for part in parts:
        comparison.add(part)
    return comparison


@given(cuts)
@settings(max_examples=30, deadline=None)
def test_what_is_merged_of_pieces_is_what_the_whole_says(cut):
    rows, seed, at = cut
    pairs = classifier(rows, seed, noise=0.05)
    parts = [learned(part) for part in pieces(pairs, at)]

    merged = Comparison()
    for part in reversed(parts):
        merged.merge(part)

    assert merged.figures() == learned(pairs).figures()


@given(cuts)
@settings(max_examples=20, deadline=None)
def test_it_goes_on_from_bytes_as_if_nothing_had_been(cut):
    rows, seed, at = cut
    parts = pieces(classifier(rows, seed, noise=0.05), at)

    resumed = Comparison()
    for part in parts:
        resumed = Comparison.from_state(unpack(pack(resumed.state())))
        resumed.add(part)

    assert resumed.figures() == learned(*parts).figures()


def test_the_figures_are_json():
    json.dumps(learned(classifier(300, 1)).figures(), allow_nan=False)


def test_nothing_compared_is_no_agreement():
    found = Comparison().figures()

    assert (found["rows"], found["agreement"], found["decisions"]) == (0, None, None)


def test_without_explaining_and_worst_rows_no_input_is_kept():
    comparison = Comparison(ComparisonPlan(worst_rows=0, explain=False))
    comparison.add(classifier(300, 1, noise=0.1))

    assert b"country" not in pack(comparison.state())
    assert comparison.figures()["explanation"] is None


def test_comparisons_of_other_tolerances_are_not_merged():
    with pytest.raises(InvalidInput, match="different plans"):
        Comparison().merge(Comparison(ComparisonPlan(atol=1.0)))


def test_a_version_against_itself_is_identical():
    pairs = classifier(100, 1, noise=0.0)
    pairs.actual.update(pairs.expected)

    found = learned(pairs).figures()

    assert (found["rows"], found["identical"], found["within_tolerance"], found["agreement"]) == (100, 100, 100, 1.0)


@pytest.mark.parametrize("data", [b"", b"\x81", b"\xc7\x01\x01\x00", b"\x01"], ids=["empty", "cut", "array", "number"])
def test_bytes_that_are_no_state_are_refused(data):
    with pytest.raises(CorruptArtefact, match="not the state"):
        unpack(data)


def test_no_byte_that_flips_does_more_than_be_refused_or_read():
    data = pack({"a": np.arange(3), "b": [1, "x"]})
    for at in range(len(data)):
        try:
            unpack(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        except (CorruptArtefact, InvalidInput):
            continue


def test_scores_labels_and_rankings_have_their_figures_and_names():
    rng = np.random.default_rng(1)
    scores, labels = rng.random((40, 1)), rng.integers(0, 2, 40)
    ids, each = [f"q{number}" for number in range(8)], np.full(8, 5)

    found = learned(Pairs(ids, each, {"p": scores}, {"p": scores**2}, inputs={}, labels=labels)).figures()

    assert (found["ranking"]["groups"], found["distribution"]["output"]) == (8, "p")
    assert [one["metric"] for one in found["quality"]] == ["accuracy", "auc", "log_loss", "brier", "ece"]
    assert len(found["calibration"]["before"]) > 1
    assert {"ndcg@10_drop", "mrr", "kendall_tau_b", "rbo", "ks", "wasserstein", "psi", "js", "accuracy_drop"} <= set(
        found["metrics"]
    )
