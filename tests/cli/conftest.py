"""Calls of the command line in this process, and a project to make them in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.cli.app import main
from tests.models import labelled_classifier, saved
from tests.registry.conftest import (  # noqa: F401 (fixtures: registries on both dialects)
    dialect,
    empty_url,
    postgres_template,
    postgres_uri,
    sqlite_template,
    url,
)


@dataclass(frozen=True)
class Done:
    """A call that ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The one error document on stderr, stdout being empty."""
        assert self.out == ""
        found: dict[str, Any] = json.loads(self.err)["error"]
        assert found["code"] == self.code
        return found


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("list", "--json")`` is the call ``mlserve list --json``."""

    def call(*words: str | Path) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call


@pytest.fixture
def in_every_mode(run: Run) -> Callable[..., tuple[Done, Done, Done]]:
    """The same call for a person, as JSON and quiet; only for calls that may be made three times."""

    def call(*words: str | Path) -> tuple[Done, Done, Done]:
        return run(*words), run(*words, "--json"), run(*words, "--quiet")

    return call


@pytest.fixture
def project(run: Run, clean_environment: Path) -> Path:
    """The working directory, made a project."""
    assert run("init").code == 0
    return clean_environment


@pytest.fixture
def rows(clean_environment: Path) -> Path:
    """Five rows for ``model``, as an .npz file."""
    path = clean_environment / "rows.npz"
    np.savez(path, x=np.random.default_rng(7).normal(size=(5, 4)).astype(np.float32))
    return path


@pytest.fixture
def model(clean_environment: Path) -> Path:
    """A classifier of four features, as an .onnx file."""
    return saved(labelled_classifier(seed=1), clean_environment / "fraud.onnx")


@pytest.fixture
def better(clean_environment: Path) -> Path:
    """Another classifier with the same signature."""
    return saved(labelled_classifier(seed=2), clean_environment / "better.onnx")


@pytest.fixture
def fraud(run: Run, project: Path, model: Path, better: Path) -> Path:
    """A project with ``fraud:1`` and ``fraud:2``; nothing is in production."""
    assert run("register", "fraud", model, "--metric", "auc=0.95", "--param", "lr=0.1").code == 0
    assert run("register", "fraud", better, "--metric", "auc=0.97", "--tag", "team=risk").code == 0
    return project
