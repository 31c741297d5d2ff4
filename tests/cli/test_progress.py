from __future__ import annotations

import io
import sys

import pytest

from mlserve.cli.progress import Lines, Style, watching
from tests.cli.test_output import Terminal


def test_a_pipe_hears_of_a_step_when_it_begins_and_ends() -> None:
    file = io.StringIO()
    clock = iter([0.0, *(1.0 for _ in range(7))])
    lines = Lines(file, lambda: next(clock))

    for done in range(6):
        lines("calibrating", done, 5)
    lines("writing", 0, 1)

    assert file.getvalue() == "calibrating 0/5\ncalibrating 5/5\nwriting\n"


def test_a_pipe_hears_of_long_work_now_and_then() -> None:
    file = io.StringIO()
    clock = iter([0.0, 1.0, 6.0, 11.0, 12.0])
    lines = Lines(file, lambda: next(clock))

    for done in (1, 2, 3, 4):
        lines("answering rows", done, None)

    assert file.getvalue() == "answering rows 1\nanswering rows 3\n"


def test_quick_work_leaves_no_trace_in_a_pipe() -> None:
    file = io.StringIO()
    lines = Lines(file, lambda: 0.0)

    lines("exporting", 2, 2)

    assert file.getvalue() == ""


@pytest.mark.parametrize("style", ["none", "lines"])
def test_progress_leaves_stdout_alone(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    with watching(style) as progress:
        progress("exporting", 1, 2)

    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with watching("bar") as progress:
        progress("exporting", 1, 2)
        progress("exporting", 2, 2)
        progress("checking", 0, None)

    assert "exporting" in terminal.getvalue()
