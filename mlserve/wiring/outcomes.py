"""``mlserve outcome``: which capture is meant, and a file of labels recorded beside it.

--capture DIR, else serve.capture, else what servers told the registry (folders that are there) ─► DIR/NAME/outcomes
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.core.progress import Progress, silent
from mlserve.core.refs import did_you_mean
from mlserve.errors import NotFound, UsageError
from mlserve.wiring.connecting import connect, settings_in_force

if TYPE_CHECKING:
    from mlserve.rows.outcome_log import Entries
    from mlserve.rows.outcome_rows import Columns
    from mlserve.traffic.outcomes import Counted


@dataclass(frozen=True, slots=True)
class CaptureOf:
    """The ``folder`` of one model's capture; ``others`` were told of too and are there, but less lately."""

    folder: Path
    others: tuple[Path, ...] = ()


def record_file(
    name: str,
    file: Path,
    *,
    capture: Path,
    columns: Columns,
    horizon_s: float | None = None,
    progress: Progress = silent,
) -> Counted:
    """Record the outcomes in ``file`` beside ``capture``, the folder of model ``name``, and count them.

    The whole file is read before anything is written. Raises NotFound, InvalidInput naming the first row that is wrong.
    """
    from mlserve.rows.outcome_rows import read_outcomes
    from mlserve.traffic.outcomes import OutcomeWriter

    total = 0
    for part in read_outcomes(file, columns):
        total += len(part)
        progress("check", total, None)

    def parts() -> Iterator[Entries]:
        done = 0
        for part in read_outcomes(file, columns):
            yield part
            done += len(part)
            progress("record", done, total)

    return OutcomeWriter(capture, name, time.time_ns).record(parts(), horizon_s=horizon_s)


def find_capture(
    name: str, given: Path | None, *, config_file: Path | None = None, registry: str | None = None
) -> CaptureOf:
    """Where the traffic of model ``name`` is captured. Raises NotFound, UsageError for what is no name of a folder."""
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise UsageError(f"'{name}' is not a model name")
    if given is not None:
        found = _folder_of(given, name)
        if found is None:
            raise NotFound(f"no capture of '{name}' in '{given}'", hint=_hint(given, name))
        return CaptureOf(found)
    setting = settings_in_force({}, config_file).settings.serve.capture
    if setting is not None and (found := _folder_of(Path(setting), name)) is not None:
        return CaptureOf(found)
    told = _told(name, config_file, registry)
    if told:
        return CaptureOf(told[0], tuple(told[1:]))
    raise NotFound(
        f"no capture of '{name}'" + ("" if setting is None else f" in '{setting}'"),
        hint=f"--capture DIR, the folder of mlserve serve {name} --capture DIR",
    )


def _folder_of(capture: Path, name: str) -> Path | None:
    """The model's folder in a capture, which may be given itself."""
    if (capture / name).is_dir():
        return capture / name
    if capture.is_dir() and capture.absolute().name == name:
        return capture
    return None


def _told(name: str, config_file: Path | None, registry: str | None) -> list[Path]:
    """Folders that servers told the registry of and that are here; those of this machine first, then the latest."""
    from mlserve.registry.captures import captures_of

    try:
        with connect(config_file, registry=registry) as app:
            found = captures_of(app.store, name)
    except NotFound:  # in no project: files can be served without one
        return []
    here = socket.gethostname()
    found.sort(key=lambda one: one.host != here)  # stable, so still the latest first
    folders = [Path(one.folder) for one in found if Path(one.folder).is_dir()]
    return list(dict.fromkeys(folder / name for folder in folders))


def _hint(capture: Path, name: str) -> str:
    if not capture.is_dir():
        return f"mlserve serve {name} --capture {capture}"
    there = [path.name for path in capture.iterdir() if path.is_dir()]
    near = did_you_mean(name, there)
    return near or (f"there are {', '.join(sorted(there))}" if there else f"mlserve serve {name} --capture {capture}")
