"""Units that their own tools take as they are: cron's five fields and shell, systemd's verification, YAML."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlserve.drift.units.crontab import crontab
from mlserve.drift.units.kubernetes import kubernetes
from mlserve.drift.units.plan import UnitPlan
from mlserve.drift.units.schedule import Schedule, parse_schedule
from mlserve.drift.units.systemd import systemd
from mlserve.errors import UsageError

NIGHTLY = Schedule(1440, 210)
WORDS = ("drift", "check", "fraud", "--window", 'it\'s 100% "fine" $HOME', "--timeout", "60")


def plan(**changes: Any) -> UnitPlan:
    said = {
        "ref": "fraud",
        "words": WORDS,
        "schedule": NIGHTLY,
        "limit_s": 120.0,
        "python": sys.executable,
        "folder": "/srv/fraud models",
    }
    return UnitPlan(**(said | changes))


def line_of(text: str) -> tuple[list[str], str]:
    """The five fields, and the command as cron gives it to the shell."""
    (line,) = [line for line in text.splitlines() if not line.startswith("#")]
    *fields, command = line.split(maxsplit=5)
    assert "%" not in command.replace("\\%", "")
    return fields, command.replace("\\%", "%")


def fake_python(folder: Path, code: int) -> str:
    """A program that says its words and where it is, and exits so."""
    path = folder / "python"
    path.write_text(
        f'#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\necho "in $PWD with $MLSERVE_REGISTRY"\nexit {code}\n'
    )
    path.chmod(0o755)
    return str(path)


def test_a_line_of_cron_says_nothing_while_all_is_well_and_everything_when_not(tmp_path: Path) -> None:
    env = tmp_path / "env file"
    env.write_text("MLSERVE_REGISTRY=postgresql://db/x\n")

    done = {}
    for code in (0, 11):
        made = plan(python=fake_python(tmp_path, code), folder=str(tmp_path), env_file=str(env))
        fields, command = line_of(crontab(made)[0].text)
        done[code] = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert fields == ["30", "3", "*", "*", "*"]
    assert (done[0].returncode, done[0].stdout, done[0].stderr) == (0, "", "")
    said = done[11].stdout.splitlines()
    assert done[11].returncode == 11
    assert said[:-1] == [f"[{word}]" for word in ("-m", "mlserve", *WORDS)]
    assert said[-1] == f"in {tmp_path} with postgresql://db/x"


def test_a_folder_that_is_gone_is_told_and_nothing_is_run(tmp_path: Path) -> None:
    made = plan(python=fake_python(tmp_path, 0), folder=str(tmp_path / "gone"))

    done = subprocess.run(
        ["/bin/sh", "-c", line_of(crontab(made)[0].text)[1]], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "gone" in done.stderr


@pytest.mark.parametrize(
    "words", [pytest.param(("a\nb",), id="two lines"), pytest.param(("x" * 1000,), id="longer than cron reads")]
)
def test_what_cron_would_cut_is_an_error(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        crontab(plan(words=words))


@pytest.mark.parametrize(
    ("every", "at", "fields"),
    [
        (None, "03:30", "30 3 * * *"),
        ("1d", "3:05", "5 3 * * *"),
        ("7d", "03:30", "30 3 * * 0"),
        ("6h", "03:30", "30 3,9,15,21 * * *"),
        ("1h", "03:30", "30 * * * *"),
        ("15m", "03:35", "5,20,35,50 * * * *"),
        ("1m", None, "* * * * *"),
    ],
)
def test_a_schedule_is_five_fields(every: str | None, at: str | None, fields: str) -> None:
    assert parse_schedule(every, at, "fraud").cron == fields


@pytest.mark.parametrize(("every", "at"), [("7h", None), ("45m", None), ("2d", None), ("0.5m", None), ("1d", "25:00")])
def test_what_is_no_schedule_is_an_error(every: str, at: str | None) -> None:
    with pytest.raises(UsageError):
        parse_schedule(every, at, "fraud")


def test_checks_of_a_fleet_are_spread_over_the_night_and_each_keeps_its_minute() -> None:
    minutes = [parse_schedule(None, None, f"model-{n}").offset_min for n in range(200)]

    assert minutes == [parse_schedule("1d", None, f"model-{n}").offset_min for n in range(200)]
    assert min(minutes) >= 60
    assert max(minutes) < 300
    assert len(set(minutes)) > 100  # of 240; 135 are expected of an even spread


def _verify(folder: Path, made: UnitPlan) -> subprocess.CompletedProcess[str]:
    units = systemd(made)
    for unit in units:
        (folder / Path(unit.path).name).write_text(unit.text)
    paths = [str(folder / Path(unit.path).name) for unit in units]
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("waiting", [None, Schedule(1440, 420, "Europe/Berlin")], ids=["alone", "with quiet hours"])
def test_systemd_takes_the_units(tmp_path: Path, waiting: Schedule | None) -> None:
    done = _verify(tmp_path, plan(waiting=waiting, user="root", env_file="/etc/mlserve/env"))

    assert [line for line in done.stderr.splitlines() if "mlserve-drift" in line] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("every", [None, "7d", "6h", "1h", "15m", "1m"])
def test_systemd_runs_when_cron_would(every: str | None) -> None:
    schedule = parse_schedule(every, "03:30", "fraud")

    done = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=2", schedule.calendar], capture_output=True, text=True, check=True
    )

    runs = [line.partition(": ")[2] for line in done.stdout.splitlines() if "Next elapse" in line or "Iter. #2" in line]
    first, second = (datetime.strptime(run.split(" ", 1)[1][:19], "%Y-%m-%d %H:%M:%S") for run in runs)
    assert second - first == timedelta(minutes=schedule.period_min)


def test_a_word_of_systemd_is_one_word_and_nothing_in_it_is_expanded() -> None:
    service, timer = systemd(plan())

    (start,) = [line for line in service.text.splitlines() if line.startswith("ExecStart=")]
    assert start.endswith('"it\'s 100%% \\"fine\\" $$HOME" --timeout 60')
    assert "TimeoutStartSec=120" in service.text
    assert {"Persistent=true", "RandomizedDelaySec=300"} <= set(timer.text.splitlines())
    assert "Nice=10" in service.text.splitlines()


def test_a_manifest_is_yaml_with_the_words_as_they_were() -> None:
    (unit,) = kubernetes(plan(image="registry.example/mlserve:1"))

    (job,) = yaml.safe_load_all(unit.text)
    spec = job["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["schedule"], spec["concurrencyPolicy"], pod["restartPolicy"]) == ("30 3 * * *", "Forbid", "Never")
    assert container["command"] == ["python", "-m", "mlserve", *WORDS]
    assert container["image"] == "registry.example/mlserve:1"
    secrets = {one["name"]: one["valueFrom"]["secretKeyRef"]["key"] for one in container["env"] if "valueFrom" in one}
    assert secrets == {"MLSERVE_REGISTRY": "registry", "MLSERVE_ARTIFACTS": "artifacts"}
    (rule,) = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert {10, 11, 12, 20, 21} <= set(rule["onExitCodes"]["values"])
    assert {"requests", "limits"} == set(container["resources"])


def test_what_quiet_hours_held_back_has_a_time_of_its_own() -> None:
    made = plan(waiting=Schedule(1440, 420, "Europe/Berlin"), ahead_min=-60)

    lines = [line for line in crontab(made)[0].text.splitlines() if not line.startswith("#")]
    units = [Path(unit.path).name for unit in systemd(made)]
    jobs = list(yaml.safe_load_all(kubernetes(made)[0].text))

    assert lines[1].startswith("0 5,6,7 * * * ")
    assert "-m mlserve drift act fraud" in lines[1]
    assert units[2:] == ["mlserve-drift-fraud-waiting.service", "mlserve-drift-fraud-waiting.timer"]
    assert "OnCalendar=*-*-* 07:00:00 Europe/Berlin" in systemd(made)[3].text
    assert [job["spec"]["timeZone"] for job in jobs] == ["Etc/UTC", "Europe/Berlin"]


@pytest.mark.parametrize("ref", ["a" * 128 + "@production", "Fraud_v2:3", "x"])
def test_a_name_is_one_that_kubernetes_takes(ref: str) -> None:
    waiting = Schedule(1440, 420, "UTC")

    for job in yaml.safe_load_all(kubernetes(plan(ref=ref, waiting=waiting))[0].text):
        name = job["metadata"]["name"]
        assert len(name) <= 52
        assert name.strip("-") == name
        assert all(part.isalnum() for part in name.split("-"))
