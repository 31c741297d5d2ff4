"""What machines are told of a drift check says what the document does, whatever stands in its texts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mlserve.report.drift_telling import annotations_of, junit_of, step_summary, textfile_of
from mlserve.report.junit import render_junit
from tests.report.test_drift import document, feature

AT = datetime(2026, 11, 27, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=12)


def test_each_check_is_a_case_and_drift_fails() -> None:
    untested = {"test": None, "statistic": None, "effect": None, "drift": False}
    features = [feature(), feature("calm", drift=False, severity="none"), feature("bare", **untested)]

    cases = junit_of(document(features=features))

    assert [(case.name, case.outcome) for case in cases] == [
        ("verdict", "failed"),
        ("age ks", "failed"),
        ("calm ks", "passed"),
        ("bare", "skipped"),
    ]
    assert b'failures="2"' in render_junit("drift", cases)


@pytest.mark.parametrize(
    ("verdict", "outcome"), [("ok", "passed"), ("stale", "skipped"), ("insufficient", "skipped"), ("warn", "failed")]
)
def test_what_could_not_be_judged_neither_passes_nor_fails(verdict: str, outcome: str) -> None:
    assert junit_of({"verdict": verdict})[0].outcome == outcome


def test_annotations_are_errors_where_it_is_critical() -> None:
    lines = annotations_of(document(features=[feature(), feature("temp", severity="warn")]))

    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::warning"]
    assert annotations_of(document(verdict="ok")) == []


@given(NAMES)
def test_an_annotation_is_one_line_whatever_a_feature_is_called(name: str) -> None:
    lines = annotations_of(document(features=[feature(name)], ref=name, reasons=[name]))

    for line in lines:
        assert "\n" not in line
        assert "\r" not in line
        assert line.split("::")[1].count(":") == 0


def test_the_summary_has_a_row_for_each_that_drifts() -> None:
    page = step_summary(document(features=[feature("a|b<c"), feature("calm", drift=False)]))

    assert "**critical**" in page
    assert r"| feature | a\|b&lt;c | ks | 0.5 | 0.1 | critical |" in page
    assert "calm" not in page


@given(NAMES, st.floats() | st.none())
def test_the_textfile_parses_whatever_it_says(name: str, effect: float | None) -> None:
    text = textfile_of(document(features=[feature(name, effect=effect)]), ended_at=AT)

    found = {family.name: family.samples for family in text_string_to_metric_families(text)}
    verdicts = {sample.labels["verdict"]: sample.value for sample in found["mlserve_drift_verdict"]}
    assert verdicts["critical"] == 1.0
    assert sum(verdicts.values()) == 1.0
    assert found["mlserve_drift_last_success_timestamp_seconds"][0].value == AT.timestamp()
    assert ("mlserve_drift_feature_effect" in found) == (effect is not None)
    if "\r" not in name:
        assert found["mlserve_drift_feature_threshold"][0].labels["feature"] == name


def test_a_document_of_almost_nothing_is_told() -> None:
    assert "mlserve_drift_verdict" in textfile_of({"verdict": "stale"}, ended_at=AT)
    assert "stale" in step_summary({"verdict": "stale"})
