"""Run a program of the user's, such as one that trains again; never by a shell, with the window and document as files.

FOLDER/window.parquet    the exact rows that were judged
FOLDER/document.json     the check's answer
FOLDER/command.log       what the program said
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlserve.core.files import os_errors, replacing
from mlserve.core.settings import current_env
from mlserve.drift.actions.exporting import export_window
from mlserve.drift.actions.occasion import Effect, Occasion
from mlserve.errors import MlserveError

ENDING_S = 10.0
"""What a program has to end by itself after SIGTERM, before it is killed with all that it started."""


def act(occasion: Occasion) -> Effect:
    """Export the window, run ``drift.command`` on it, and keep its exit code. Raises InvalidInput for a full disk."""
    folder = occasion.folder
    with os_errors(folder):
        folder.mkdir(0o700, parents=True, exist_ok=True)  # rows are people's
    exported = _exported(occasion)
    document = folder / "document.json"
    with replacing(document) as partial:
        partial.write_text(json.dumps(occasion.document, ensure_ascii=False, indent=1), encoding="utf-8")
    env = current_env() | environment_of(occasion, document, exported)
    figures: dict[str, object] = {"folder": str(folder), **exported}
    try:
        code = _run(occasion, env)
    except OSError as error:
        return Effect("failed", f"'{occasion.settings.command[0]}' cannot be run: {_words(error)}", figures)
    if code is None:
        limit = f"{occasion.settings.command_timeout_s:g} s"
        return Effect("failed", f"took longer than {limit} and was ended; see {folder}", figures | {"exit_code": None})
    return Effect("failed" if code else "done", f"exit {code}; see {folder}", figures | {"exit_code": code})


def environment_of(occasion: Occasion, document: Path, exported: Mapping[str, object]) -> dict[str, str]:
    """What the program is told, as ``MLSERVE_DRIFT_…``; empty where there is nothing to tell."""
    window = occasion.document.get("window") or {}
    told = {
        "REF": occasion.ref,
        "MODEL": occasion.model,
        "DIGEST": occasion.digest,
        "RUN": occasion.key,
        "VERDICT": occasion.alarm.verdict,
        "SUBJECTS": ",".join(occasion.alarm.subjects),
        "DOCUMENT": str(document),
        "FOLDER": str(occasion.folder),
        "WINDOW": exported.get("window"),
        "WINDOW_DIGEST": exported.get("window_digest"),
        "WINDOW_START": window.get("start"),
        "WINDOW_END": window.get("end"),
    }
    return {f"MLSERVE_DRIFT_{name}": "" if value is None else str(value) for name, value in told.items()}


def _exported(occasion: Occasion) -> dict[str, object]:
    """The window as a file; why not, where its rows cannot be had any more or fit no table."""
    if occasion.rows is None:
        return {"window_error": "the window's rows cannot be read again"}
    path = occasion.folder / "window.parquet"
    try:
        rows, digest = export_window(path, occasion.rows(), occasion.names)
    except MlserveError as error:
        return {"window_error": error.message}
    return {"window": str(path), "window_rows": rows, "window_digest": digest}


def _run(occasion: Occasion, env: Mapping[str, str]) -> int | None:
    """The program's exit code; None where it had to be ended."""
    with (
        (occasion.folder / "command.log").open("wb") as log,
        subprocess.Popen(
            list(occasion.settings.command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
        ) as program,
    ):
        try:
            return program.wait(occasion.settings.command_timeout_s)
        except subprocess.TimeoutExpired:
            _end(program)
            return None
        except BaseException:
            # Ctrl-C, or the check's own time limit: nothing that it started runs on unseen.
            _end(program)
            raise


def _end(program: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        program.wait(ENDING_S)
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
