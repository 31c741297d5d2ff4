"""From a recorded drift check to what is done about it: settings, the window's rows opened anew, a folder for files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserve.core.refs import ModelRef
from mlserve.errors import InvalidConfig, NotFound
from mlserve.wiring.connecting import App, home_of, settings_in_force

if TYPE_CHECKING:
    from mlserve.core.settings import DriftSettings
    from mlserve.drift.blocks import Block
    from mlserve.drift.schema import DriftSchema
    from mlserve.registry.records import DriftRun, Version


@dataclass(frozen=True, slots=True)
class Acted:
    """What was done after the run ``run``, as the ``actions`` of a check's document."""

    ref: str
    run: str
    verdict: str
    ran_at: datetime
    actions: tuple[Mapping[str, Any], ...]

    @property
    def failed(self) -> bool:
        return any(one["state"] == "failed" for one in self.actions)

    def to_dict(self) -> dict[str, Any]:
        return {
            "ref": self.ref,
            "run": self.run,
            "verdict": self.verdict,
            "ran_at": self.ran_at,
            "actions": list(self.actions),
            "failed": self.failed,
        }


def act_after(
    app: App, version: Version, run: DriftRun, *, config_file: Path | None = None, require: Callable[[], None]
) -> list[dict[str, Any]]:
    """Do what the settings want after ``run`` of ``version``, as far as it is due; the ``actions`` of its document.

    For who has the turn to check (``Turn.require``). Raises InvalidConfig, Unavailable, Conflict where it was lost.
    """
    from mlserve.drift.actions.acting import act_on
    from mlserve.drift.actions.occasion import Occasion
    from mlserve.drift.deciding import alarm_of, reactions_of

    settings = app.settings.drift
    if not reactions_of(settings).on.get(run.verdict):
        return []
    schema = _schema_of(app, version, run)
    occasion = Occasion(
        store=app.store,
        settings=settings,
        key=run.run_key,
        ref=version.ref,
        digest=version.digest,
        alarm=alarm_of(run.document),
        document=run.document,
        folder=_folder(settings, config_file) / version.name / run.run_key.removeprefix("sha256:")[:16],
        clock=app.clock,
        sleep=time.sleep,
        rows=rows_of(run, version, schema),
        names=schema.names,
    )
    return act_on(occasion, require=require)


def act_on_last_run(app: App, ref: ModelRef, *, config_file: Path | None = None, wait_s: float = 0.0) -> Acted:
    """Do what is still due after the newest check of the version that ``ref`` names: it waited, or failed.

    Raises NotFound where no check was recorded, Conflict while one runs, InvalidConfig, Unavailable.
    """
    from mlserve.drift.running import alone, lease_name
    from mlserve.registry.drifting import profile_of, runs_of
    from mlserve.registry.versions import get_version

    version = get_version(app.store, ref)
    profile = profile_of(app.store, ref)
    with alone(
        app.store,
        lease_name(version.name, profile.profile_digest),
        clock=app.clock,
        ttl_s=app.settings.drift.lease_s,
        wait_s=wait_s,
    ) as turn:
        runs = runs_of(app.store, version.digest, limit=1)
        if not runs:
            raise NotFound(f"'{version.ref}' was never checked", hint=f"mlserve drift check {version.ref}")
        done = act_after(app, version, runs[0], config_file=config_file, require=turn.require)
    return Acted(version.ref, runs[0].run_key, runs[0].verdict, runs[0].ran_at, tuple(done))


def rows_of(run: DriftRun, version: Version, schema: DriftSchema) -> Callable[[], Iterable[Block]] | None:
    """What opens the window of ``run`` anew; None where its document names no source that is still there.

    A capture that was compacted has the same rows; of one that was erased from, what is left.
    """
    from mlserve.drift.windows import Bounds

    window = run.document.get("window") or {}
    sources = [Path(str(source)) for source in window.get("sources") or ()]
    if not sources or not all(source.exists() for source in sources):
        return None
    start, end = (None if text is None else datetime.fromisoformat(text) for text in _bounds(window))
    return lambda: chain.from_iterable(
        _blocks(source, version.version, Bounds(start, end), schema) for source in sources
    )


def _blocks(source: Path, version: int, bounds: Any, schema: DriftSchema) -> Iterable[Block]:
    from mlserve.drift.captured_source import CaptureSource
    from mlserve.drift.file_window import FileWindow
    from mlserve.rows.capture_format import is_capture

    if is_capture(source):
        return CaptureSource(source, version=version, bounds=bounds).blocks()
    return FileWindow(source, schema).blocks()


def _bounds(window: Mapping[str, Any]) -> Sequence[str | None]:
    return window.get("start"), window.get("end")


def _schema_of(app: App, version: Version, run: DriftRun) -> DriftSchema:
    from mlserve.drift.profile import from_bytes
    from mlserve.registry.drifting import profiles_of

    (profile,) = [one for one in profiles_of(app.store, version.digest) if one.id == run.profile_id]
    return from_bytes(app.artefacts.read(profile.profile_digest)).schema


def _folder(settings: DriftSettings, config_file: Path | None) -> Path:
    """Where commands' files go: the setting, else ``drift/`` of the project's ``.mlserve``."""
    if settings.folder is not None:
        return Path(settings.folder).absolute()
    home = home_of(settings_in_force({}, config_file))
    if home is None and settings.command:
        raise InvalidConfig("no place for the files of drift.command is set", hint='folder = "DIR" under [drift]')
    return (home or Path.cwd()).absolute() / "drift"
