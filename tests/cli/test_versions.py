"""register, list, show, diff, tag, archive, unarchive."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlserve.core.evidence import Evidence, write_sidecar
from mlserve.wiring.connecting import now
from tests.cli.conftest import Done, Run
from tests.models import echo, saved


def test_register_answers_in_each_mode(
    in_every_mode: Callable[..., tuple[Done, Done, Done]], project: Path, model: Path
) -> None:
    person, script, quiet = in_every_mode("register", "fraud", model, "--metric", "auc=0.9")

    digest = "sha256:" + hashlib.sha256(model.read_bytes()).hexdigest()
    assert person.out == f"✓ fraud:1 is registered ({digest[:19]}…)\n"
    assert person.err == "hint: mlserve promote fraud:1 --to production\n"
    assert {"ref": "fraud:1", "version": 1, "digest": digest, "created": False}.items() <= script.document.items()
    assert script.document["signature"]["inputs"][0]["name"] == "x"
    assert quiet.out == "fraud:1\n"


def test_the_same_bytes_are_the_same_version_with_more_metrics(run: Run, project: Path, model: Path) -> None:
    run("register", "fraud", model, "--metric", "auc=0.9")

    again = run("register", "fraud", model, "--metric", "f1=0.8", "--tag", "team=risk", "--json").document
    other = run("register", "fraud", model, "--metric", "auc=0.8", "--json")

    assert (again["version"], again["created"]) == (1, False)
    assert (again["metrics"], again["tags"]) == ({"auc": 0.9, "f1": 0.8}, {"team": "risk"})
    assert other.error["code"] == 5


def test_all_that_is_said_of_a_version_is_shown(run: Run, project: Path, model: Path, better: Path, rows: Path) -> None:
    run("register", "fraud", model)
    run(
        *("register", "fraud", better, "--metric", "auc=0.9", "--param", "lr=0.1", "--tag", "team=risk"),
        *("--data", str(rows), "--golden", rows, "--parent", "fraud:1", "--note", "second try"),
    )

    version = run("show", "fraud:2", "--json").document

    assert version["params"] == {"lr": "0.1"}
    assert version["parent"] == "fraud:1"
    assert version["data_digest"] == "sha256:" + hashlib.sha256(rows.read_bytes()).hexdigest()
    assert version["golden"].startswith("sha256:")
    assert version["note"] == "second try"
    evidence = {item["kind"]: item for item in version["evidence"]}
    assert evidence["load"]["passed"] is True
    assert evidence["load"]["figures"]["opset"] == 20
    assert evidence["certificate"]["figures"]["batchable"] is True
    assert {item["origin"] for item in evidence.values()} == {"measured"}


def test_show_tells_a_person_what_the_version_takes_and_gives(run: Run, fraud: Path) -> None:
    done = run("show", "fraud:2")

    assert "inputs       x: FP32[batch, 4]" in done.out
    assert "probabilities: FP32[batch, 3]" in done.out
    assert "certificate" in done.out


def test_the_evidence_beside_a_model_is_imported(run: Run, project: Path, model: Path) -> None:
    digest = "sha256:" + hashlib.sha256(model.read_bytes()).hexdigest()
    write_sidecar(model, [Evidence("parity", digest, True, {"max_abs": 1e-7}, now(), "ann")])
    run("register", "fraud", model)

    evidence = run("show", "fraud:1", "--json").document["evidence"]

    assert [item["origin"] for item in evidence if item["kind"] == "parity"] == ["imported"]


def test_the_commit_around_a_model_is_recorded(run: Run, project: Path, model: Path, better: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (project / "train.py").write_text("seed = 1\n")
    git("add", "train.py")
    git("commit", "-q", "-m", "train")
    clean = run("register", "fraud", model, "--json").document
    (project / "train.py").write_text("seed = 2\n")
    dirty = run("register", "fraud", better, "--json").document

    assert clean["commit"] == dirty["commit"] == git("rev-parse", "HEAD")
    assert (clean["dirty"], dirty["dirty"]) == (False, True)


def test_a_model_that_cannot_be_used_is_exit_9_and_makes_nothing(run: Run, project: Path, rows: Path) -> None:
    broken = project / "broken.onnx"
    broken.write_bytes(b"not a model")

    assert run("register", "fraud", broken, "--json").error["code"] == 9
    assert run("register", "fraud", "missing.onnx", "--json").error["code"] == 4
    assert run("list", "--json").document == []


def test_golden_rows_must_fit_the_model_and_be_few(run: Run, project: Path, model: Path) -> None:
    for name, array in (
        ("many", np.zeros((300, 4), "f4")),
        ("none", np.zeros((0, 4), "f4")),
        ("wide", np.zeros((2, 5), "f4")),
    ):
        np.savez(project / f"{name}.npz", x=array)

        assert run("register", "fraud", model, "--golden", project / f"{name}.npz", "--json").error["code"] == 9


def test_a_model_that_is_not_row_by_row_is_registered_with_that_certificate(run: Run, project: Path) -> None:
    fixed = saved(echo(dims=(2, 2)), project / "fixed.onnx")
    run("register", "fixed", fixed)

    certificate = run("show", "fixed:1", "--json").document["evidence"]

    assert [item["passed"] for item in certificate if item["kind"] == "certificate"] == [False]


def test_list_shows_models_then_versions_newest_first(run: Run, fraud: Path, model: Path) -> None:
    run("register", "churn", model)

    models = run("list", "--json").document
    versions = run("list", "fraud", "--json").document

    assert [item["name"] for item in models] == ["churn", "fraud"]
    assert [item["ref"] for item in models] == ["churn:1", "fraud:2"]
    assert models[1]["metrics"] == versions[0]["metrics"]
    assert [item["ref"] for item in versions] == ["fraud:2", "fraud:1"]
    assert {"ref", "stages", "metrics", "created_at"} <= set(versions[0]) & set(models[0])
    assert run("list", "--quiet").out == "churn\nfraud\n"
    assert run("list", "fraud", "--quiet").out == "fraud:2\nfraud:1\n"
    assert run("list", "fraud").out.startswith("REF ")


def test_list_takes_a_condition_and_a_limit(run: Run, fraud: Path) -> None:
    assert run("list", "fraud", "--where", "metric.auc > 0.96", "--quiet").out == "fraud:2\n"
    assert run("list", "--where", "tag.team = risk", "--quiet").out == "fraud:2\n"
    assert run("list", "fraud", "--limit", "1", "--quiet").out == "fraud:2\n"
    assert run("list", "fraud", "--where", "auc > 1", "--json").error["code"] == 2


def test_an_empty_registry_lists_nothing_and_says_what_to_do(run: Run, project: Path) -> None:
    done = run("list")

    assert done.code == 0
    assert "mlserve register" in done.err


def test_a_name_that_is_not_there_is_met_with_the_nearest(run: Run, fraud: Path) -> None:
    assert run("list", "frud", "--json").error["hint"] == "did you mean 'fraud'?"
    assert "latest is 2" in run("show", "fraud:7", "--json").error["message"]


def test_diff_shows_what_differs(run: Run, fraud: Path) -> None:
    document = run("diff", "fraud:1", "fraud:2", "--json").document
    person = run("diff", "fraud:1", "fraud:2")

    assert document["metrics"] == {"auc": [0.95, 0.97]}
    assert document["tags"] == {"team": [None, "risk"]}
    assert document["same_bytes"] is False
    assert "metrics.auc" in person.out
    assert person.out.splitlines()[0].split() == ["WHAT", "fraud:1", "fraud:2"]
    assert run("diff", "fraud:1", "fraud:1").out == "fraud:1 and fraud:1 do not differ\n"


def test_diff_says_whose_clients_would_break(run: Run, fraud: Path) -> None:
    run("register", "echo", saved(echo(), fraud / "echo.onnx"))

    assert "clients of fraud:1 could not be answered by echo:1" in run("diff", "fraud:1", "echo:1").out


def test_tags_are_set_and_taken_away(run: Run, fraud: Path) -> None:
    assert run("tag", "fraud:2", "team=core", "reviewed=yes").out == "✓ fraud:2 has reviewed=yes, team=core\n"
    assert run("tag", "fraud:2", "team=", "reviewed=", "--json").document["tags"] == {}
    assert "no tags" in run("tag", "fraud:1", "x=").out


def test_what_somebody_stored_does_not_steer_a_terminal(run: Run, fraud: Path) -> None:
    said = run("tag", "fraud:2", "team=\x1b[2Jcore\nx").out + run("show", "fraud:2").out

    assert "\x1b" not in said
    assert "team=\\x1b[2Jcore x" in said


def test_an_archived_version_serves_nowhere_until_unarchived(run: Run, fraud: Path) -> None:
    assert run("archive", "fraud:1", "--json").document["state"] == "archived"
    assert run("promote", "fraud:1", "--to", "production", "--json").error["code"] == 5
    assert run("unarchive", "fraud:1", "--quiet").out == "fraud:1\n"
    assert run("promote", "fraud:1", "--to", "production").code == 0
    assert run("archive", "fraud:1", "--json").error["code"] == 5


def test_the_card_of_a_version_is_one_file(run: Run, fraud: Path) -> None:
    run("promote", "fraud:2", "--to", "production", "--reason", "better <recall>")

    person = run("show", "fraud:2", "--report", "card.html")
    quiet = run("show", "fraud:2", "--report", "card.html", "--quiet")

    page = (fraud / "card.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "better &lt;recall&gt;" in page
    assert "hint: the card is in card.html" in person.err
    assert quiet.out == "card.html\n"
    assert run("show", "fraud:2", "--report", "missing/card.html", "--json").error["code"] == 9
