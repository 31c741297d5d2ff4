"""The targets under a fuzzer that is guided by coverage: long in `make test-all`, a glance at one of them otherwise."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.fuzzing.targets import TARGETS

RUNS, MOST_S = 100_000, 45
FEW_RUNS = 1_000

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this platform")
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_that_a_fuzzer_finds_breaks_a_rule(name: str, tmp_path: Path, in_full: bool) -> None:
    if not in_full and name != "infer":
        pytest.skip("runs in `make test-all`")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    limits = [f"-runs={RUNS}", f"-max_total_time={MOST_S}"] if in_full else [f"-runs={FEW_RUNS}"]
    # The fuzzer rewrites the bytecode that coverage would count.
    own = {name: value for name, value in os.environ.items() if not name.startswith("COV")}

    run = subprocess.run(
        [sys.executable, "-m", "tests.serving.fuzzing.driving", name, str(corpus), "-seed=1", *limits],
        cwd=tmp_path,
        env=own | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )

    assert run.returncode == 0, run.stderr[-8000:]
    assert "Done " in run.stderr
