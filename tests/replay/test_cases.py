"""A comparison as JUnit cases."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from mlserve.replay.cases import cases_of
from mlserve.report.junit import render_junit
from tests.replay.answers import answer


def test_each_condition_and_each_rung_is_a_case() -> None:
    cases = {case.name: case for case in cases_of([answer()])}

    assert [cases[name].outcome for name in ("agreement<0.99", "identical_share<1")] == ["passed", "failed"]
    assert {"exactness", "decisions", "ranking", "distribution", "quality", "noise", "latency"} <= set(cases)
    assert "is 0.7" in cases["identical_share<1"].detail
    assert "70 % of 12000 rows identical" in cases["exactness"].detail


def test_a_rung_that_had_nothing_to_measure_is_skipped_with_the_reason() -> None:
    cases = {case.name: case for case in cases_of([answer(quality=[], ranking=None, rows=0)])}

    assert {cases[name].outcome for name in ("quality", "ranking", "exactness")} == {"skipped"}
    assert "outcome" in cases["quality"].detail


def test_candidates_are_groups_and_what_was_measured_is_in_the_file() -> None:
    suite = ET.fromstring(render_junit("replay", cases_of([answer(), answer("fraud:4")])))[0]

    assert {case.get("classname") for case in suite} == {"replay.fraud:3", "replay.fraud:4"}
    assert suite.get("failures") == "2"
    assert "accuracy 0.949 → 0.961" in "".join(suite.itertext())
