"""A program gets the window, its digest and the document; what it says and how it ends is kept; it has an end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mlserve.core.digests import digest_file
from mlserve.core.settings import DriftSettings
from mlserve.drift.actions.command import act
from mlserve.drift.blocks import Block
from mlserve.errors import InvalidInput
from tests.drift.actions.making import DIGEST, DOCUMENT, KEY, occasion

TELL = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("MLSERVE_DRIFT_")}
json.dump({"told": told, "words": sys.argv[1:]}, open(os.environ["MLSERVE_DRIFT_FOLDER"] + "/told.json", "w"))
print("trained"); print("on new rows", file=sys.stderr)
"""


def rows() -> list[Block]:
    return [Block(0, 3, {"x": np.ones((3, 2), np.float32)})]


def running(*words: str, **changes: float) -> DriftSettings:
    return DriftSettings(command=(sys.executable, *words), **changes)  # type: ignore[arg-type]


def test_a_program_is_told_everything_and_no_shell_reads_its_words(tmp_path: Path) -> None:
    words = ("$HOME; rm -rf *", "two words")

    effect = act(occasion(None, tmp_path / "run", running("-c", TELL, *words), rows=rows))

    folder = tmp_path / "run"
    seen = json.loads((folder / "told.json").read_text())
    assert seen["words"] == list(words)
    assert seen["told"] == {
        "MLSERVE_DRIFT_REF": "fraud:2",
        "MLSERVE_DRIFT_MODEL": "fraud",
        "MLSERVE_DRIFT_DIGEST": DIGEST,
        "MLSERVE_DRIFT_RUN": KEY,
        "MLSERVE_DRIFT_VERDICT": "critical",
        "MLSERVE_DRIFT_SUBJECTS": "age",
        "MLSERVE_DRIFT_DOCUMENT": str(folder / "document.json"),
        "MLSERVE_DRIFT_FOLDER": str(folder),
        "MLSERVE_DRIFT_WINDOW": str(folder / "window.parquet"),
        "MLSERVE_DRIFT_WINDOW_DIGEST": digest_file(folder / "window.parquet"),
        "MLSERVE_DRIFT_WINDOW_START": "2026-03-01T00:00:00Z",
        "MLSERVE_DRIFT_WINDOW_END": "2026-03-01T12:00:00Z",
    }
    assert json.loads((folder / "document.json").read_text()) == DOCUMENT
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted((folder / "command.log").read_text().splitlines()) == ["on new rows", "trained"]
    assert (effect.state, effect.figures["exit_code"], effect.figures["window_rows"]) == ("done", 0, 3)


def test_a_program_that_fails_is_told_with_its_exit_code(tmp_path: Path) -> None:
    effect = act(occasion(None, tmp_path, running("-c", "raise SystemExit(3)")))

    assert (effect.state, effect.figures["exit_code"]) == ("failed", 3)
    assert effect.figures["window_error"] == "the window's rows cannot be read again"


def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    effect = act(occasion(None, tmp_path, DriftSettings(command=("no-such-program",))))

    assert (effect.state, effect.detail) == ("failed", "'no-such-program' cannot be run: no such file or directory")


def test_a_program_without_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    start = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(600)
"""

    effect = act(occasion(None, tmp_path, running("-c", start, command_timeout_s=2.0)))

    assert (effect.state, effect.figures["exit_code"]) == ("failed", None)
    child = int((tmp_path / "pid").read_text())
    assert _is_over(child)


def _is_over(pid: int) -> bool:
    """Gone, or a zombie that only waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidInput, match="cannot write"):
        act(occasion(None, tmp_path / "file" / "run", running("-c", "")))
