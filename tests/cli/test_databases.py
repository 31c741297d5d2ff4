"""The same calls on SQLite and on a real PostgreSQL, and many processes at once."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.models import labelled_classifier, saved
from tests.processes import MLSERVE


@pytest.fixture
def registry(url: str, monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> str:
    """A registry of either kind, named by the environment alone, with ``fraud:1`` to ``fraud:4``."""
    monkeypatch.setenv("MLSERVE_REGISTRY", url)
    monkeypatch.setenv("MLSERVE_ARTIFACTS", str(clean_environment / "artifacts"))
    return url


def test_the_loop_runs_on_either_database(run: Run, registry: str, model: Path, better: Path, rows: Path) -> None:
    assert run("db", "check").code == 0
    assert run("register", "fraud", model, "--metric", "auc=0.9", "--golden", rows).code == 0
    assert run("register", "fraud", better, "--parent", "fraud:1").code == 0
    assert run("promote", "fraud:1", "--to", "production").code == 0
    assert run("promote", "fraud:2", "--to", "production", "--expect", "fraud:1").code == 0
    assert run("rollback", "fraud").code == 0
    assert run("list", "fraud", "--where", "stage = production", "--quiet").out == "fraud:1\n"
    assert [entry["action"] for entry in run("history", "fraud", "--json").document] == [
        "rollback",
        "promote",
        "promote",
    ]
    assert run("predict", "fraud", rows, "--json").document == run("predict", model, rows, "--json").document
    assert run("doctor").code == 0


def test_init_makes_the_schema_wherever_the_registry_is(
    run: Run, empty_url: str, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setenv("MLSERVE_REGISTRY", empty_url)

    assert run("init").code == 0
    assert run("register", "fraud", model).code == 0
    assert "s3cret" not in run("config", "show").out


def test_calls_at_the_same_time_are_won_or_refused_and_nothing_else(
    run: Run, registry: str, clean_environment: Path, in_full: bool
) -> None:
    versions, rounds, at_once = (4, 12, 8) if in_full else (3, 2, 3)
    for seed in range(versions):
        run("register", "fraud", saved(labelled_classifier(seed=seed), clean_environment / f"{seed}.onnx"))

    def promote(number: int) -> subprocess.CompletedProcess[str]:
        mine, other = 1 + number % versions, 1 + (number + 1) % versions
        expect = ["--expect", f"fraud:{other}"] if number % 2 else []
        command = [*MLSERVE, "promote", f"fraud:{mine}", "--to", "production", *expect, "--json"]
        return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))

    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(promote, range(versions * rounds)))

    assert {one.returncode for one in done} <= {0, 5}, [one.stderr for one in done if one.returncode not in (0, 5)]
    moves = [json.loads(one.stdout) for one in done if one.returncode == 0]
    won = sorted(move["generation"] for move in moves if move["changed"])
    history = run("history", "fraud", "--json").document
    assert won == list(range(1, len(won) + 1))
    assert [entry["generation"] for entry in history] == won[::-1]
    assert {(move["ref"], move["generation"]) for move in moves if move["changed"]} == {
        (entry["ref"], entry["generation"]) for entry in history
    }
