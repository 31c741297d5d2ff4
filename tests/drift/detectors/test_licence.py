"""The terms of alibi-detect are told once, and the engine in use is known without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlserve.drift.detectors.licence import NOTICE, tell_once


def test_the_notice_is_said_once(tmp_path: Path):
    said: list[str] = []

    first, again = (tell_once(tmp_path / "deep" / "told", said.append) for _ in range(2))

    assert (first, again) == (True, False)
    assert said == [NOTICE]
    assert "Business Source License 1.1" in NOTICE


def test_a_memory_that_cannot_be_written_costs_nothing_but_repetition(tmp_path: Path):
    (tmp_path / "file").write_text("")
    said: list[str] = []

    for _ in range(2):
        tell_once(tmp_path / "file" / "told", said.append)

    assert len(said) == 2


def test_it_is_remembered_for_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    tell_once(say=lambda _: None)

    assert (tmp_path / "mlserve" / "alibi-detect-licence").read_text() == f"{NOTICE}\n"


WITHOUT_ALIBI = """
import sys
sys.modules["alibi_detect"] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "alibi_detect" else found(name, package)
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() + done.stderr.strip()


def test_without_alibi_detect_columns_are_judged_by_scipy_and_whole_rows_say_what_to_install():
    said = python(
        WITHOUT_ALIBI
        + """
import numpy as np
from mlserve.drift.detectors.choosing import choose, made
from mlserve.drift.detectors.detector import Options, Takes
from mlserve.errors import MissingExtra
from mlserve.drift.detectors.table import DETECTORS
kinds = {"a": Takes.NUMERIC, "b": Takes.NUMERIC}
(choice,) = choose(kinds, (100, 100))
sample = {name: np.arange(100.0) for name in kinds}
print({(one.engine, one.p_value) for one in made(choice, Options()).run(sample, sample)})
try:
    DETECTORS["mmd"](Options())
except MissingExtra as error:
    print(error.hint)
"""
    )

    assert said == "{('scipy', 1.0)}\npip install 'mlserve[drift]'"


def test_knowing_the_engine_and_choosing_import_neither_alibi_detect_nor_torch():
    said = python(
        """
import sys
from mlserve.drift.detectors import choosing, engines
assert engines.engine_in_use() == "alibi-detect"
choosing.choose({"a": choosing.Takes.NUMERIC, "b": choosing.Takes.NUMERIC}, (500, 500))
print({"alibi_detect", "torch", "transformers"} & set(sys.modules))
"""
    )

    assert said == "set()"
