"""The names of an answer's numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mlserve.compare.naming import figures_of, is_of_labels, may_be, nested, usual_names, values_of
from mlserve.core.evidence import Evidence
from tests.replay.answers import answer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", 12_000),
        ("agreement", 0.9925),
        ("identical_share", 0.7),
        ("within_tolerance_share", 0.975),
        ("ndcg@10_drop", -0.069),
        ("top5_agreement", 0.88),
        ("p99_ms", 2.1),
        ("latency.recorded.p99_ms", 9.8),
        ("lag.max_ms", 14.0),
        ("outputs.probabilities.max_abs", 0.312),
        ("quality.accuracy.after", 0.961),
        ("quality.accuracy.low", 0.004),
        ("coverage.failed", 3),
        ("decisions.top_k.same_set", 0.974),
        ("noise.agreement", 1.0),
    ],
)
def test_a_figure_has_the_name_that_people_know_it_by(name: str, value: float) -> None:
    assert figures_of(answer())[name] == pytest.approx(value)


def test_every_name_that_an_answer_has_is_accepted_before_it_is_known() -> None:
    assert [name for name in values_of(answer()) if not may_be(name)] == []


def test_every_name_in_a_hint_can_be_typed() -> None:
    assert [name for name in usual_names() if not may_be(name)] == []


def test_what_is_not_a_number_has_no_name() -> None:
    names = figures_of(answer(ref="fraud:3"))

    assert {"ref", "passed", "noise.difference_beyond_noise", "checks", "worst"} & set(names) == set()


def test_what_could_not_be_measured_is_known_but_no_figure() -> None:
    document = answer(agreement=None, rows=0, identical=0, metrics={"auc": float("nan")})

    assert (values_of(document)["agreement"], values_of(document)["identical_share"]) == (None, None)
    assert values_of(document)["auc"] is None
    assert {"agreement", "identical_share", "auc"} & set(figures_of(document)) == set()


@pytest.mark.parametrize("part", ["ranking", "lag", "noise", "calibration", "distribution", "decisions", "explanation"])
def test_a_part_that_is_missing_as_a_whole_has_no_name(part: str) -> None:
    assert part not in values_of(answer(**{part: None}))


def test_evidence_reaches_every_figure_by_its_name() -> None:
    figures = figures_of(answer())
    evidence = Evidence("replay", "sha256:0", True, nested(figures), datetime(2026, 1, 2, tzinfo=UTC), "me")

    assert {name: evidence.figure(name) for name in figures} == figures


def test_figures_of_labels_are_told_from_others() -> None:
    assert [is_of_labels(name) for name in ("accuracy", "auc_drop", "rmse_before", "quality.brier.low")] == [True] * 4
    assert [is_of_labels(name) for name in ("agreement", "ndcg@10_drop", "p99_ms", "outputs.auc.max_abs")] == [
        False
    ] * 4


def test_a_metric_of_the_users_own_is_a_name() -> None:
    assert not may_be("my:metric")
    assert may_be("my:metric", metrics=["my:metric"])
