"""Conditions of --fail-on: what they take, and when they hold."""

from __future__ import annotations

import math

import pytest

from mlserve.errors import InvalidInput, UsageError
from mlserve.replay.judging import judged, parse_condition
from tests.replay.answers import answer


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("agreement<0.99", True),
        ("agreement<0.995", False),
        ("identical_share<1", False),
        ("within_tolerance<11700", True),
        ("ndcg@10_drop>0.01", True),
        ("ndcg@10 < 0.6", False),
        ("p99_ms>50", True),
        ("p99_ms>2", False),
        ("outputs.probabilities.max_abs>1e-3", False),
        ("coverage.failed>0", False),
        ("quality.accuracy.low<0", True),
    ],
)
def test_a_condition_that_holds_is_a_no(text: str, passed: bool) -> None:
    document = judged(answer(), [parse_condition(text)])

    assert [check["passed"] for check in document["checks"]] == [passed]
    assert document["passed"] is passed
    assert document["checks"][0]["expression"] == text


def test_one_condition_of_several_is_enough_to_refuse() -> None:
    document = judged(answer(), [parse_condition("agreement<0.9"), parse_condition("rows>1")])

    assert [check["passed"] for check in document["checks"]] == [True, False]
    assert document["passed"] is False


def test_without_conditions_there_is_nothing_to_refuse() -> None:
    document = judged(answer(), [])

    assert (document["checks"], document["passed"]) == ([], True)


@pytest.mark.parametrize("sign", ["<", ">"])
@pytest.mark.parametrize("value", [None, math.nan])
def test_what_could_not_be_measured_never_passes(sign: str, value: float | None) -> None:
    document = judged(answer(agreement=value), [parse_condition(f"agreement{sign}0")])

    assert document["checks"][0] | {"value": None, "passed": False} == document["checks"][0]
    assert document["passed"] is False


@pytest.mark.parametrize(
    "text",
    ["agreement", "agreement<=0.9", "agreement=1", "<0.9", "agreement<", "agreement<a", "agreement<nan", "rows>inf",
     "0.9<agreement<1", "agreement<99%", ""],
)  # fmt: skip
def test_another_form_is_told_with_one_that_works(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition(text)

    assert "agreement<0.995" in (caught.value.hint or "")


def test_a_misspelt_name_is_told_before_anything_runs() -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition("agrement<0.9")

    assert caught.value.hint == "did you mean 'agreement'?"


def test_a_name_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition("zzz<0.9")

    assert "identical_share, within_tolerance_share, agreement" in (caught.value.hint or "")


def test_a_metric_of_labels_without_labels_is_an_error_and_no_pass() -> None:
    document = answer(quality=[], metrics={"ndcg@10": 0.5})

    with pytest.raises(InvalidInput, match="no outcome is joined") as caught:
        judged(document, [parse_condition("accuracy_drop>0.01")])
    assert "--outcomes" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("ndcg@5", "did you mean 'ndcg@", id="another cutoff"),
        pytest.param("outputs.probabilitys.max_abs", "did you mean 'outputs.probabilities.max_abs'?", id="output"),
        pytest.param("coverage.fail", "did you mean 'coverage.failed'?", id="part"),
    ],
)
def test_a_figure_that_this_answer_has_not_is_an_error_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        judged(answer(), [parse_condition(f"{name}<1")])

    assert hint in (caught.value.hint or "")


def test_a_metric_of_the_users_own_is_taken_where_it_was_asked_for() -> None:
    condition = parse_condition("business:value<1", metrics=["business:value"])

    assert judged(answer(metrics={"business:value": 2.0}), [condition])["passed"]
