"""policy, promote, rollback, withdraw, history."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Run
from tests.models import echo, saved

POLICY = '[production]\nrequire = [{ kind = "parity", passed = true }]\n'


@pytest.fixture
def guarded(run: Run, fraud: Path) -> Path:
    """``fraud`` with a policy that asks for parity, of which there is no evidence."""
    (fraud / "policy.toml").write_text(POLICY)
    assert run("policy", "set", "fraud", fraud / "policy.toml").code == 0
    return fraud


def test_promote_answers_with_the_move_and_its_gates(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")

    move = run("promote", "fraud:2", "--to", "production", "--reason", "better", "--json").document

    assert {"ref": "fraud:2", "stage": "production", "previous": "fraud:1", "changed": True}.items() <= move.items()
    assert move["generation"] == 2
    assert all({"name", "passed", "measured", "threshold"} <= set(gate) for gate in move["gates"])


def test_promote_tells_a_person_what_was_there(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")

    done = run("promote", "fraud:2", "--to", "production")

    assert done.out.splitlines()[0] == "✓ fraud:2 is now in production in place of fraud:1 (generation 2)"
    assert "GATE" in done.out


def test_promoting_what_is_there_already_changes_nothing(
    in_every_mode: Callable[..., tuple[Done, Done, Done]], run: Run, fraud: Path
) -> None:
    run("promote", "fraud:1", "--to", "production")

    person, script, quiet = in_every_mode("promote", "fraud:1", "--to", "production")

    assert "stands in production already (generation 1)" in person.out
    assert (script.code, script.document["changed"], script.document["generation"]) == (0, False, 1)
    assert quiet.out == ""


def test_a_dry_run_of_what_is_there_already_says_so(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")

    assert "stands in production already" in run("promote", "fraud:1", "--to", "production", "--dry-run").out


def test_another_share_of_traffic_is_told_as_such(run: Run, fraud: Path) -> None:
    run("promote", "fraud:2", "--to", "challenger", "--traffic", "5%")

    done = run("promote", "fraud:2", "--to", "challenger", "--traffic", "10%")

    first = "✓ fraud:2 stays in challenger, now with 10 % of the traffic (generation 2)"
    assert done.out.splitlines()[0] == first


def test_ages_are_in_words_for_a_person_and_in_seconds_for_a_script(run: Run, fraud: Path) -> None:
    (fraud / "policy.toml").write_text('[staging]\nrequire = [{ kind = "load", max_age = "30d" }]\n')
    run("policy", "set", "fraud", fraud / "policy.toml")

    gates = run("promote", "fraud:1", "--to", "staging", "--dry-run", "--json").document["gates"]
    person = run("promote", "fraud:1", "--to", "staging", "--dry-run").out

    assert gates[-1]["name"] == "load.age"
    assert gates[-1]["threshold"] == 30 * 86400
    assert person.splitlines()[-1].split()[3] == "30d"


def test_quiet_prints_the_version_that_moved(run: Run, fraud: Path) -> None:
    assert run("promote", "fraud:1", "--to", "staging", "--quiet").out == "fraud:1\n"


def test_a_gate_that_fails_is_exit_7_with_each_gate_listed(
    in_every_mode: Callable[..., tuple[Done, Done, Done]], guarded: Path
) -> None:
    person, script, quiet = in_every_mode("promote", "fraud:1", "--to", "production")

    assert person.code == script.code == quiet.code == 7
    assert "✗ fraud:1 may not enter production" in person.out
    assert "parity" in person.out
    assert "--force --reason" in person.err
    assert script.document["changed"] is False
    assert [gate["passed"] for gate in script.document["gates"]].count(False) == 1
    assert quiet.out == ""


def test_force_with_a_reason_skips_the_gates_and_is_recorded(run: Run, guarded: Path) -> None:
    done = run("promote", "fraud:1", "--to", "production", "--force", "--reason", "outage")

    entry = run("history", "fraud", "--json").document[0]
    assert "forced" in done.out
    assert (entry["forced"], entry["reason"]) == (True, "outage")


def test_a_dry_run_moves_nothing(run: Run, fraud: Path, guarded: Path) -> None:
    assert run("promote", "fraud:1", "--to", "production", "--dry-run").code == 7
    assert "may enter staging" in run("promote", "fraud:1", "--to", "staging", "--dry-run").out
    assert run("promote", "fraud:1", "--to", "staging", "--dry-run", "--quiet").out == ""
    assert run("history", "fraud", "--json").document == []


def test_a_lost_race_is_exit_5(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")

    assert run("promote", "fraud:2", "--to", "production", "--expect", "none", "--json").error["code"] == 5
    assert run("promote", "fraud:2", "--to", "production", "--expect", "fraud:2", "--json").error["code"] == 5
    assert run("promote", "fraud:2", "--to", "production", "--expect", "fraud:1").code == 0


def test_traffic_is_recorded(run: Run, fraud: Path) -> None:
    assert run("promote", "fraud:2", "--to", "challenger", "--traffic", "5%", "--json").document["traffic"] == 0.05


def test_another_signature_is_refused_in_production(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")
    run("register", "fraud", saved(echo(), fraud / "echo.onnx"))

    assert run("promote", "fraud:3", "--to", "production").code == 7


def test_rollback_goes_back_and_then_has_nothing_left(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")
    run("promote", "fraud:2", "--to", "production")

    back = run("rollback", "fraud", "--reason", "alarms")
    again = run("rollback", "fraud", "--json")

    assert back.out.splitlines()[0] == "✓ fraud:1 is back in production in place of fraud:2 (generation 3)"
    assert again.error["code"] == 4


def test_withdraw_empties_a_stage(run: Run, fraud: Path) -> None:
    run("promote", "fraud:2", "--to", "challenger")

    assert run("withdraw", "fraud@challenger").out == "✓ fraud@challenger is now empty, fraud:2 left (generation 2)\n"
    assert "empty already" in run("withdraw", "fraud@challenger").out


def test_history_tells_who_moved_what_when_and_why(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production", "--reason", "first")
    run("promote", "fraud:2", "--to", "production", "--reason", "better")

    entries = run("history", "fraud", "--json").document
    assert [(entry["ref"], entry["previous"], entry["reason"]) for entry in entries] == [
        ("fraud:2", "fraud:1", "better"),
        ("fraud:1", None, "first"),
    ]
    assert {entry["by"] for entry in entries} == {"tester"}
    assert entries[0]["at"].endswith("Z")
    assert run("history", "fraud", "--quiet").out == "fraud:2\nfraud:1\n"
    assert "better" in run("history", "fraud").out


def test_a_policy_is_shown_as_it_was_set(run: Run, guarded: Path) -> None:
    document = run("policy", "show", "fraud", "--json").document

    assert document["stages"] == {"production": {"require": [{"kind": "parity", "passed": True}]}}
    assert (document["revision"], document["set_by"]) == (1, "tester")
    person = run("policy", "show", "fraud").out
    assert "revision 1" in person
    assert person.splitlines()[-1] == "production  parity: must have passed"


def test_every_demand_of_a_policy_is_said_in_words(run: Run, fraud: Path) -> None:
    (fraud / "policy.toml").write_text(
        "[production]\ncompare_with_production = [\n"
        '{ metric = "auc", max_drop = 0.01 }, { metric = "rmse", min_gain = 0.5, lower_is_better = true }]\n'
        '[[production.require]]\nkind = "parity"\nfigure = "max_abs"\nmin = 0\nmax = 1e-4\n'
        'max_age = "7d"\nimported = false\n'
    )

    lines = run("policy", "set", "fraud", fraud / "policy.toml").out.splitlines()

    assert [line.removeprefix("production  ") for line in lines[2:]] == [
        "parity: must not have failed, max_abs at least 0, max_abs at most 0.0001, at most 7d old, "
        "measured by this registry's own commands",
        "auc: may drop by 0.01 against production",
        "rmse (lower is better): must gain 0.5 against production",
    ]


def test_an_empty_stdin_does_not_take_the_gates_away(run: Run, guarded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))

    assert run("policy", "set", "fraud", "--json").error["code"] == 2
    assert run("policy", "show", "fraud", "--json").document["revision"] == 1


def test_a_policy_without_demands_says_what_is_left(run: Run, guarded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))

    said = "policy of fraud is set (revision 2): a version must load, and fit production's clients"
    assert said in run("policy", "set", "fraud").out


def test_without_a_policy_the_default_is_told(run: Run, fraud: Path) -> None:
    assert "fraud has no policy: a version must load" in run("policy", "show", "fraud").out


def test_a_policy_may_come_from_stdin(run: Run, fraud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(POLICY))

    assert run("policy", "set", "fraud", "--quiet").out == "fraud\n"


@pytest.mark.parametrize(("text", "code"), [("[prodution]\n", 3), ("x", 3), (None, 4)])
def test_a_policy_that_cannot_be_used_is_refused(run: Run, fraud: Path, text: str | None, code: int) -> None:
    if text is not None:
        (fraud / "p.toml").write_text(text)

    assert run("policy", "set", "fraud", fraud / "p.toml", "--json").error["code"] == code


def test_a_policy_file_that_is_no_text_is_exit_9(run: Run, fraud: Path) -> None:
    assert run("policy", "set", "fraud", ".", "--json").error["message"] == "cannot read '.': is a directory"
    (fraud / "p.toml").write_bytes(b"\xff\xfe")

    assert run("policy", "set", "fraud", fraud / "p.toml", "--json").error["code"] == 9


def test_waiting_ends_at_once_where_no_server_lives(run: Run, fraud: Path) -> None:
    assert run("promote", "fraud:1", "--to", "production", "--wait").code == 0


def test_what_served_tells_what_stood_where_at_a_time(run: Run, fraud: Path) -> None:
    run("promote", "fraud:1", "--to", "production")
    at = run("history", "fraud", "--json").document[0]["at"]
    run("promote", "fraud:2", "--to", "production", "--reason", "better")

    then = run("what-served", "fraud", "--at", at, "--json").document
    now = run("what-served", "fraud", "--json").document
    before = run("what-served", "fraud", "--at", "2001-01-01", "--json")

    assert (then["ref"], then["at"], then["stages"]["production"]["ref"]) == ("fraud:1", at, "fraud:1")
    assert (now["ref"], now["stages"]["production"]["reason"]) == ("fraud:2", "better")
    assert (before.code, before.document["ref"], before.document["stages"]) == (0, None, {})
    assert run("what-served", "fraud", "--at", at, "--quiet").out == "fraud:1\n"
    assert "production  fraud:2" in run("what-served", "fraud").out
    assert "no version of 'fraud' stood in any stage" in run("what-served", "fraud", "--at", "2001-01-01").out


def test_a_time_that_is_none_is_exit_2(run: Run, fraud: Path) -> None:
    error = run("what-served", "fraud", "--at", "yesterday", "--json").error

    assert (error["code"], error["hint"]) == (2, "--at 2026-03-01T12:00:00Z")
