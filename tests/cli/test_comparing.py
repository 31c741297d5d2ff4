"""What a terminal, a pipe and a script get of a comparison."""

from __future__ import annotations

import io
import json

import pytest

from mlserve.cli.comparing import tell_comparison
from mlserve.cli.output import Output
from tests.replay.answers import answer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(*documents: dict[str, object], stream: io.StringIO | None = None, **flags: bool) -> str:
    stream = stream or io.StringIO()
    tell_comparison(Output.for_flags(answers=stream, **flags), documents, made=["r.html"])
    return stream.getvalue()


def test_a_pipe_gets_plain_text_with_the_verdict_first() -> None:
    text = told(answer())

    assert text.startswith("✗ fraud:3 failed: 12000 rows against what was recorded, 70 % identical, agreement 99.25 %")
    assert ["NDCG@10", "0.472", "0.541"] in [line.split() for line in text.splitlines()]
    assert "45.8 % of 310 rows differ where amount > 412.5 and age <= 21.5" in text
    assert "left out: not answered with 200 × 140" in text
    assert "\x1b" not in text
    assert "█" not in text


def test_a_person_at_a_terminal_sees_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")

    text = told(answer(), stream=Terminal())

    assert text.count("█") >= 4
    assert "\x1b[31m✗ 0.7" in text


@pytest.mark.parametrize("count", [1, 2])
def test_a_script_gets_one_document(count: int) -> None:
    document = json.loads(told(*[answer(f"fraud:{n}") for n in range(count)], json=True))

    assert (document if count == 1 else document[1])["rows"] == 12_000


def test_quiet_prints_what_was_written() -> None:
    assert told(answer(), quiet=True) == "r.html\n"


def test_candidates_have_a_column_each() -> None:
    text = told(answer(), answer("fraud:4", passed=True, checks=[]))

    assert text.startswith("✗ 12000 rows against what was recorded: fraud:3 failed, fraud:4 compared")
    assert "fraud:3: 45.8 %" in text


def test_an_answer_about_no_rows_is_told() -> None:
    nothing = answer(rows=0, identical=0, within_tolerance=0, agreement=None, checks=[], passed=True, metrics={},
                     latency=None, distribution=None, explanation=None, noise=None)  # fmt: skip

    assert "nothing to compare" in told(nothing)
