from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlserve.wiring.sources import commit_of


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(clean_environment: Path) -> Path:
    folder = clean_environment / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").touch()
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "train")
    return folder


def test_the_commit_is_that_of_the_repository_around_the_model(repository: Path) -> None:
    commit = commit_of(repository / "model.onnx")

    assert commit is not None
    assert (commit.sha, commit.dirty) == (git(repository, "rev-parse", "HEAD"), False)


def test_a_model_that_git_does_not_follow_is_no_change(repository: Path) -> None:
    (repository / "model.onnx").touch()

    commit = commit_of(repository / "model.onnx")

    assert commit is not None
    assert not commit.dirty


def test_a_changed_source_is_dirty(repository: Path) -> None:
    (repository / "train.py").write_text("seed = 2\n")

    commit = commit_of(repository / "model.onnx")

    assert commit is not None
    assert commit.dirty


def test_a_model_outside_takes_the_commit_of_the_working_directory(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)

    assert commit_of(tmp_path / "model.onnx") is not None


@pytest.mark.parametrize("state", ["no repository", "no commit", "no git"])
def test_where_there_is_no_commit_there_is_none(
    state: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if state == "no commit":
        git(clean_environment, "init", "-q")
    if state == "no git":
        monkeypatch.setenv("PATH", "")

    assert commit_of(clean_environment / "model.onnx") is None
