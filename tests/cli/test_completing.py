from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlserve.cli.completing import complete_name, complete_ref, complete_stage
from tests.cli.conftest import Run
from tests.processes import MLSERVE


def test_names_then_versions_or_stages_are_offered(fraud: Path) -> None:
    assert complete_name("fr") == ["fraud"]
    assert complete_ref("f") == ["fraud"]
    assert complete_ref("fraud:") == ["fraud:2", "fraud:1"]
    assert complete_ref("fraud@prod") == ["fraud@production"]
    assert complete_stage("s") == ["staging", "shadow"]


@pytest.mark.parametrize("incomplete", ["", "fraud:", "nope:"])
def test_without_a_registry_nothing_is_offered(incomplete: str) -> None:
    assert complete_ref(incomplete) == []


def test_the_shell_gets_the_refs_of_the_project(run: Run, fraud: Path) -> None:
    words = {"_MLSERVE_COMPLETE": "complete_bash", "COMP_WORDS": "mlserve promote fr", "COMP_CWORD": "2"}

    done = subprocess.run(MLSERVE, capture_output=True, text=True, env={**os.environ, **words})

    assert done.stdout.split() == ["fraud"]
