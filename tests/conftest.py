"""What every test stands on: an environment, a home and a working directory that belong to that test alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.checkpoints import Trained, train

KEPT = "MLSERVE_TEST_ALL"

# Before any test's module imports Keras, which chooses once.
os.environ.setdefault("KERAS_BACKEND", "torch")

# The same examples in every run, and no verdict about speed on a busy machine.
settings.register_profile("mlserve", deadline=None, derandomize=True)
settings.load_profile("mlserve")


# A shell starts what it puts into the background deaf to Ctrl-C, and programs inherit that; those under test must hear.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No ``MLSERVE_*`` variable, no terminal's habits, an empty home, and an empty working directory, returned."""
    for variable in list(os.environ):
        if variable.startswith("MLSERVE_") and variable != KEPT:
            monkeypatch.delenv(variable)
    for variable in ("NO_COLOR", "FORCE_COLOR", "CI", "TERM", "VIRTUAL_ENV_PROMPT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("USER", "tester")
    monkeypatch.setenv("COLUMNS", "120")
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def in_full() -> bool:
    """Whether long tests run in full (``make test-all``) or in their short form."""
    return os.environ.get(KEPT) == "1"


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A Llama-shaped checkpoint that learned a little of the standard library's documentation; not to be changed."""
    return train(tmp_path_factory.mktemp("llama") / "llama", "llama", steps=250)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A GPT-2-shaped checkpoint, trained as ``llama``."""
    return train(tmp_path_factory.mktemp("gpt2") / "gpt2", "gpt2", steps=200)
