"""What ``mlserve init`` makes: a settings file, a home folder and a registry with its schema."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlserve.core.files import replacing
from mlserve.core.settings import PROJECT_FILE, PROJECT_HOME, resolve
from mlserve.errors import InvalidInput
from mlserve.wiring.connecting import artefacts_root, registry_url, without_password

_SETTINGS = """\
# Settings of this mlserve project. Flags and MLSERVE_* variables win over them; `mlserve config show` prints all.
{registry}# artifacts = "s3://bucket/prefix"   # default: beside the registry

[serve]
# port = 8000
# max_batch = 64
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A project's home folder, its registry's URL without password, and whether this call made it."""

    home: Path
    registry: str
    created: bool


def start_project(folder: Path, *, env: Mapping[str, str], registry: str | None = None) -> Project:
    """Make ``folder`` a project, keeping what is there; again on the same folder changes nothing.

    A ``registry`` given here is written to the settings file. Raises InvalidInput where the folder cannot be made,
    InvalidConfig, Unavailable.
    """
    from mlserve.registry.migrating import upgrade

    folder = Path(os.path.normpath(folder.absolute()))
    registry = registry and _absolute(registry)
    home = folder / PROJECT_HOME
    file = folder / PROJECT_FILE
    created = not (file.exists() and home.is_dir())
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot make '{home}': {error.strerror}") from error
    if not file.exists():
        with replacing(file) as partial:
            line = (
                f"registry = {json.dumps(registry)}\n"
                if registry
                else '# registry = "postgresql+psycopg://user@host/mlserve"\n'
            )
            partial.write_text(_SETTINGS.format(registry=line), encoding="utf-8")
    resolved = resolve({"registry": registry}, env, folder)
    url = registry_url(resolved)
    root = artefacts_root(resolved)
    if "://" not in root:
        Path(root).mkdir(parents=True, exist_ok=True)
    revisions = upgrade(url)
    return Project(home, without_password(url), created or revisions.before != revisions.after)


def _absolute(url: str) -> str:
    """A SQLite URL seen from here, as it must stand in a file elsewhere."""
    path = url.removeprefix("sqlite:///")
    return url if path == url or path.startswith(("/", ":")) else f"sqlite:///{Path(path).absolute()}"
