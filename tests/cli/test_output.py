from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mlserve.cli.documents import document_of, to_json
from mlserve.cli.output import Output
from mlserve.cli.rendering import cell, plain_record, plain_table, rich_record, rich_table
from mlserve.cli.terminal import is_styled, styled


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Figures:
    p99_ms: float
    at: datetime


ROWS = [{"ref": "fraud:1", "stages": ["production"]}]


def test_records_and_arrays_become_plain_json() -> None:
    value = {"figures": Figures(1.5, datetime(2026, 1, 2, tzinfo=UTC)), "rows": np.arange(3), "out": Path("a")}

    assert document_of(value) == {
        "figures": {"p99_ms": 1.5, "at": "2026-01-02T00:00:00Z"},
        "rows": [0, 1, 2],
        "out": "a",
    }


def test_a_figure_that_json_lacks_is_null() -> None:
    assert to_json([float("nan"), float("inf"), np.float32("nan")]) == "[null, null, null]"


def test_a_value_without_a_json_form_is_our_bug() -> None:
    with pytest.raises(TypeError, match="object"):
        document_of(object())


def test_an_answer_is_a_sentence_a_document_or_a_reference(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ({}, {"json": True}, {"quiet": True}):
        Output.for_flags(**mode).result("fraud:1 is registered", {"ref": "fraud:1"}, made="fraud:1")

    assert capsys.readouterr().out == '✓ fraud:1 is registered\n{"ref": "fraud:1"}\nfraud:1\n'


def test_a_no_is_marked_and_makes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ({}, {"quiet": True}):
        Output.for_flags(**mode).result("refused", {}, good=False)

    assert capsys.readouterr().out == "✗ refused\n"


def test_a_table_is_aligned_a_list_or_the_references(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ({}, {"json": True}, {"quiet": True}):
        Output.for_flags(**mode).table(("ref", "stages"), ROWS, document=ROWS, made=["fraud:1"])

    assert capsys.readouterr().out == (
        'REF      STAGES\nfraud:1  production\n[{"ref": "fraud:1", "stages": ["production"]}]\nfraud:1\n'
    )


def test_json_wins_over_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Output.for_flags(json=True, quiet=True).record({"ref": 1}, document={"ref": 1}, made="x")

    assert capsys.readouterr().out == '{"ref": 1}\n'


def test_hints_are_for_people_and_warnings_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ({}, {"json": True}, {"quiet": True}):
        out = Output.for_flags(**mode)
        out.hint("mlserve init")
        out.warn("slow disk")

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "hint: mlserve init\nwarning: slow disk\nwarning: slow disk\n"


def test_with_json_a_warning_waits_for_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output.for_flags(json=True)
    out.warn("slow disk")
    assert capsys.readouterr().err == ""

    out.result("done", {})

    assert capsys.readouterr().err == "warning: slow disk\n"


def test_events_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ({}, {"json": True}, {"quiet": True}):
        Output.for_flags(**mode).event("ready", {"event": "ready"})

    assert capsys.readouterr().out == 'ready\n{"event": "ready"}\n'


def test_details_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ({}, {"json": True}, {"quiet": True}):
        out = Output.for_flags(**mode)
        out.detail("more")
        out.details(("ref", "stages"), ROWS)
        out.details(("ref", "stages"), [])

    assert capsys.readouterr().out == "more\nREF      STAGES\nfraud:1  production\n"


@pytest.mark.parametrize("variable", ["NO_COLOR", "CI"])
def test_a_terminal_is_plain_where_the_user_says_so(variable: str) -> None:
    assert is_styled(Terminal(), {})
    assert not is_styled(Terminal(), {variable: "1"})
    assert not is_styled(Terminal(), {"TERM": "dumb"})
    assert not is_styled(io.StringIO(), {})


def test_a_terminal_gets_colours_tables_and_indented_json(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for mode in ({}, {"json": True}):
        out = Output.for_flags(**mode)
        out.table(("ref", "stages"), ROWS, document=ROWS, made=[])
        out.record({"ref": "fraud:1"}, document={"ref": "fraud:1"}, made="")
        out.result("done", {}, made=None)

    said = terminal.getvalue()
    assert "REF" in said
    assert "fraud:1" in said
    assert '\n    "ref": "fraud:1"' in said
    assert styled("✓", "good", on=True) in said


def test_rich_tables_show_brackets_as_they_are() -> None:
    file = io.StringIO()
    rich_table(["x"], [["[bold]"]], file)
    rich_record({"y": "[red]"}, file)

    assert "[bold]" in file.getvalue()
    assert "[red]" in file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (1e-7, "1e-07"),
        (False, "no"),
        ("a\nb", "a b"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02 03:04:05Z"),
        ({}, "-"),
        (np.float32(0.5), "0.5"),
    ],
)
def test_a_cell_is_short(value: object, text: str) -> None:
    assert cell(value) == text


def test_an_empty_record_and_table_are_no_error() -> None:
    assert plain_record({}) == ""
    assert plain_table(["a"], []) == "A"
