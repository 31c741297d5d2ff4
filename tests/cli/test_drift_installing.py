"""``mlserve drift install`` prints what runs this same check, and shows no password."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mlserve.wiring.drift_installing import ahead_of
from tests.cli.conftest import Run


def test_a_line_runs_this_interpreter_in_this_folder_as_said(run: Run, project: Path) -> None:
    done = run("drift", "install", "fraud", "--cron", "--at", "03:30", "--", "--fail-on", "critical")

    line = done.out.splitlines()[-1]
    assert done.code == 0
    assert line.startswith(f"30 3 * * * cd {project} && {{ SAID=$({sys.executable} -m mlserve drift check fraud ")
    assert "--fail-on critical --window since-last --timeout 3600" in line


def test_a_window_and_a_time_limit_that_are_said_stay(run: Run, project: Path) -> None:
    words = ("drift", "install", "fraud", "--systemd", "--", "--window", "24h", "--timeout", "60")

    service = run(*words[:2], "--json", *words[2:]).document["units"][0]["text"]

    assert "drift check fraud --window 24h --timeout 60\n" in service
    assert "TimeoutStartSec=120\n" in service


def test_a_unit_waits_for_the_programs_that_a_check_may_start(run: Run, project: Path) -> None:
    with (project / "mlserve.toml").open("a") as file:
        file.write('\n[drift]\nquiet_hours = "22:00-07:00"\ncommand = ["train"]\ncommand_timeout_s = 100\n')

    units = run("drift", "install", "fraud", "--systemd", "--json").document["units"]

    assert "TimeoutStartSec=3760\n" in units[0]["text"]
    assert "OnCalendar=*-*-* 07:00:00 UTC\n" in units[3]["text"]


@pytest.mark.parametrize("kind", ["--cron", "--systemd", "--k8s"])
@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_password_is_left_to_a_file_of_the_environment(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, kind: str, how: str
) -> None:
    url = "postgresql://ann:s3cret@db/registry"
    if how == "environment":
        monkeypatch.setenv("MLSERVE_REGISTRY", url)
    flag = ("--registry", url) if how == "flag" else ()

    done = run("drift", "install", "fraud", kind, "--env-file", "/srv/env", *flag)

    assert done.code == 0
    assert "s3cret" not in done.out + done.err
    assert ("/srv/env" in done.out) or (kind == "--k8s" and "secretKeyRef" in done.out)


def test_clocks_of_two_zones_differ_by_what_they_show_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        minutes = [ahead_of(ZoneInfo("Europe/Berlin"), datetime(2026, month, 1, tzinfo=UTC)) for month in (1, 7)]
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()

    assert minutes == [8 * 60, 7 * 60]


def test_a_registry_without_a_password_is_named(run: Run, project: Path) -> None:
    done = run("drift", "install", "fraud", "--cron", "--registry", "sqlite:////srv/r.db")

    assert "--registry sqlite:////srv/r.db" in done.out
    assert "set -a" not in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["fraud"], "prints one kind of unit", id="no kind"),
        pytest.param(["fraud", "--cron", "--k8s"], "prints one kind of unit", id="two kinds"),
        pytest.param(["fraud", "--cron", "--every", "7h"], "divides neither", id="no such period"),
        pytest.param(["fraud", "--cron", "--at", "noon"], "is no time of day", id="no such time"),
        pytest.param(["fraud", "--cron", "--", "--timeout", "soon"], "'--timeout'", id="no time limit"),
    ],
)
def test_what_cannot_be_installed_is_exit_2(run: Run, project: Path, words: list[str], said: str) -> None:
    done = run("drift", "install", "--json", *words)

    assert (done.code, said in done.error["message"]) == (2, True)
