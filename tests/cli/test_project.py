"""init, config show, doctor and db."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mlserve.registry.schema import VERSION_TABLE
from tests.cli.conftest import Run


def test_init_makes_the_settings_the_home_and_the_registry(run: Run, clean_environment: Path) -> None:
    done = run("init", "demo", "--json")

    home = clean_environment / "demo" / ".mlserve"
    assert done.document == {"home": str(home), "registry": f"sqlite:///{home / 'registry.db'}", "created": True}
    assert (home / "registry.db").is_file()
    assert (clean_environment / "demo" / "mlserve.toml").is_file()


def test_init_again_keeps_what_is_there(run: Run, project: Path) -> None:
    (project / "mlserve.toml").write_text("[serve]\nport = 9000\n")

    done = run("init", "--json")

    assert done.document["created"] is False
    assert "9000" in (project / "mlserve.toml").read_text()


def test_init_says_in_each_mode_what_it_made(run: Run, clean_environment: Path) -> None:
    assert run("init", "a").out == f"✓ project made: {clean_environment / 'a' / '.mlserve'}\n"
    assert run("init", "a").out == f"✓ project is there already: {clean_environment / 'a' / '.mlserve'}\n"
    assert run("init", "b", "--quiet").out == f"{clean_environment / 'b' / '.mlserve'}\n"


def test_init_says_the_folder_without_detours(run: Run, clean_environment: Path) -> None:
    home = run("init", "there/../here", "--json").document["home"]

    assert home == str(clean_environment / "here" / ".mlserve")


def test_a_registry_given_to_init_is_the_projects_from_then_on(run: Run, clean_environment: Path) -> None:
    assert run("init", "a", "--registry", "sqlite:///shared.db").code == 0

    shown = run("config", "show", "--config", "a/mlserve.toml", "--json").document["settings"]

    registry = next(item for item in shown if item["name"] == "registry")
    assert registry == {
        "name": "registry",
        "value": f"sqlite:///{clean_environment / 'shared.db'}",
        "origin": "mlserve.toml",
    }
    assert (clean_environment / "shared.db").is_file()
    assert (clean_environment / "artifacts").is_dir()


def test_init_where_no_folder_can_be_made_is_exit_9(run: Run, clean_environment: Path) -> None:
    (clean_environment / "file").touch()

    assert run("init", "file", "--json").error["code"] == 9


@pytest.mark.parametrize("words", [("list",), ("show", "fraud"), ("history", "fraud"), ("serve", "fraud")])
def test_outside_any_project_the_hint_is_init(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words, "--json")

    assert (done.code, done.error["hint"]) == (4, "mlserve init")


def test_a_project_is_found_from_below(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "down")

    assert run("list", "--json").document == []


def test_settings_come_from_flag_environment_file_default_in_that_order(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "mlserve.toml").write_text("[serve]\nport = 9000\nmax_batch = 8\nhost = '::1'\n")
    monkeypatch.setenv("MLSERVE_SERVE__PORT", "9001")
    monkeypatch.setenv("MLSERVE_REGISTRY", "sqlite:///env.db")

    shown = run("config", "show", "--registry", "sqlite:///flag.db", "--json").document["settings"]

    found = {item["name"]: (item["value"], item["origin"]) for item in shown}
    assert found["serve.port"] == (9001, "environment")
    assert found["serve.max_batch"] == (8, "mlserve.toml")
    assert found["serve.drain_s"] == (30.0, "default")
    assert found["registry"] == ("sqlite:///flag.db", "flag")


def test_config_show_masks_passwords(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVE_REGISTRY", "postgresql+psycopg://ann:s3cret@db/mlserve")

    done = run("config", "show")

    assert "postgresql+psycopg://ann:***@db/mlserve" in done.out
    assert "s3cret" not in done.out


def test_a_setting_that_is_none_is_exit_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVE_SERVE__PROT", "1")

    done = run("config", "show", "--json")

    assert done.code == 3
    assert done.error["hint"] == "did you mean 'serve.port'?"


def test_doctor_is_well_in_a_project(run: Run, project: Path) -> None:
    done = run("doctor", "--json")

    checks = {check["name"]: check for check in done.document["checks"]}
    assert done.code == 0
    assert {"python", "packages", "onnxruntime", "device cpu", "settings", "registry", "artefacts"} <= set(checks)
    assert all(check["ok"] for check in checks.values() if check["needed"])
    assert not checks["device cuda"]["ok"] or "CUDA" in checks["device cuda"]["detail"]


def test_doctor_can_do_without_a_project(run: Run) -> None:
    done = run("doctor")

    assert done.code == 0
    assert "mlserve init" in done.out


@pytest.mark.parametrize("mode", [(), ("--json",), ("--quiet",)], ids=["human", "json", "quiet"])
def test_doctor_is_exit_8_when_something_needed_fails(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, mode: tuple[str, ...]
) -> None:
    (project / ".mlserve" / "registry.db").unlink()

    done = run("doctor", *mode)

    assert (done.code, done.out) == (8, "")
    assert "no registry at" in done.err
    assert ("device cpu" in done.err) == (mode == ())


def test_doctor_looks_at_settings_that_cannot_be_used(run: Run, project: Path) -> None:
    (project / "mlserve.toml").write_text("port =")

    assert "is not TOML" in run("doctor", "--json").error["message"]


def test_doctor_tells_an_onnxruntime_that_cannot_be_imported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    assert "onnxruntime: cannot be imported" in run("doctor", "--json").error["message"]


def test_doctor_tells_two_onnxruntimes_in_one_environment(
    run: Run, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = clean_environment / "site" / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(clean_environment / "site"))

    assert "both onnxruntime and onnxruntime-gpu are installed" in run("doctor", "--json").error["message"]


def test_db_commands_agree_on_the_revision(run: Run, project: Path) -> None:
    upgraded, current, checked = (run("db", word, "--json").document for word in ("upgrade", "current", "check"))

    assert upgraded["before"] == upgraded["after"] == current["after"] == checked["after"] == checked["head"]
    assert checked["in_sync"] is True
    assert run("db", "current", "--quiet").out.strip() == checked["head"]
    assert "already" in run("db", "upgrade").out


def test_a_schema_written_by_a_newer_mlserve_is_refused_with_what_to_do(run: Run, project: Path) -> None:
    with closing(sqlite3.connect(project / ".mlserve" / "registry.db")) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        connection.commit()

    checked, listed, person = run("db", "check", "--json"), run("list", "--json"), run("db", "check")

    assert checked.code == 7
    assert checked.document["in_sync"] is False
    assert (listed.code, listed.error["type"]) == (3, "InvalidConfig")
    assert "pip install --upgrade mlserve" in listed.error["hint"]
    assert "✗" in person.out
    assert "pip install --upgrade mlserve" in person.err


def test_db_check_of_a_url_that_is_none_is_exit_3(run: Run) -> None:
    assert run("db", "check", "--registry", "nonsense", "--json").error["code"] == 3


def test_db_backup_does_not_write_over_a_folder(run: Run, project: Path) -> None:
    assert run("db", "backup", ".", "--json").error["message"] == "cannot write '.': it is a folder"


def test_db_backup_copies_the_registry(run: Run, project: Path) -> None:
    done = run("db", "backup", project / "copy.db", "--quiet")

    assert done.out == f"{project / 'copy.db'}\n"
    assert run("db", "check", "--registry", f"sqlite:///{project / 'copy.db'}").code == 0
