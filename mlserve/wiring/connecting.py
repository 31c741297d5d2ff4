"""From settings to an open registry: where it is, where its artefacts lie, who is asking and what time it is."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserve.core.settings import PROJECT_HOME, Resolved, Settings, current_env, resolve
from mlserve.errors import InvalidConfig, NotFound

if TYPE_CHECKING:
    from mlserve.registry.artefacts import ArtefactStore
    from mlserve.registry.store import Store

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*(@)")


@dataclass(frozen=True, slots=True)
class App:
    """An open registry with what a call on it needs besides its arguments."""

    store: Store
    artefacts: ArtefactStore
    settings: Settings
    user: str
    clock: Callable[[], datetime]


@contextmanager
def connect(
    config_file: Path | None = None, *, registry: str | None = None, flags: Mapping[str, Any] | None = None
) -> Iterator[App]:
    """The registry in force for this process's working directory and environment, closed when the block ends.

    Raises InvalidConfig; NotFound where there is no registry; Unavailable where it cannot be reached.
    """
    from mlserve.registry.artefacts import ArtefactStore
    from mlserve.registry.store import open_store

    resolved = settings_in_force({**(flags or {}), "registry": registry}, config_file)
    url = registry_url(resolved)
    root = artefacts_root(resolved)
    store = open_store(url)
    try:
        yield App(store, ArtefactStore(root), resolved.settings, user_of(resolved.settings), now)
    finally:
        store.close()


def settings_in_force(flags: Mapping[str, Any], config_file: Path | None = None) -> Resolved:
    """The settings of a call made in the working directory with this process's environment. Raises InvalidConfig."""
    return resolve(flags, current_env(), Path.cwd(), config_file)


def registry_url(resolved: Resolved) -> str:
    """The registry's URL. Raises NotFound where neither a setting nor a project names one."""
    if resolved.settings.registry is None:
        raise NotFound(f"no registry: '{Path.cwd()}' is in no mlserve project", hint="mlserve init")
    return resolved.settings.registry


def artefacts_root(resolved: Resolved) -> str:
    """Where artefacts lie: the setting; else beside a SQLite registry; else in the project.

    A registry that was named while its artefacts were not keeps them beside its file, so that both move together.
    Raises InvalidConfig for a database server outside any project: a folder of this machine would be a guess.
    """
    origins = {item.name: item.origin for item in resolved.origins}
    artifacts = resolved.settings.artifacts
    if artifacts is not None and (origins["artifacts"] != "default" or origins["registry"] == "default"):
        return artifacts
    beside = _folder_of_sqlite(registry_url(resolved))
    if beside is not None:
        return str(beside / "artifacts")
    if artifacts is not None:
        return artifacts
    raise InvalidConfig(
        f"no place for artefacts is set for registry '{without_password(registry_url(resolved))}'",
        hint="export MLSERVE_ARTIFACTS=s3://bucket/prefix (or a folder that all servers see)",
    )


def user_of(settings: Settings) -> str:
    """Who is asking: the setting ``user``, else the account's name, else ``unknown``."""
    if settings.user:
        return settings.user
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


def without_password(value: Any) -> Any:
    """A URL that can be shown: the password, if any, as ``***``.

    >>> without_password("postgresql+psycopg://ann:s3cret@db/mlserve")
    'postgresql+psycopg://ann:***@db/mlserve'
    """
    return _PASSWORD.sub(r"\1***\2", value) if isinstance(value, str) else value


def home_of(resolved: Resolved) -> Path | None:
    """The project's ``.mlserve`` folder, or None outside any project."""
    return resolved.project / PROJECT_HOME if resolved.project else None


def _folder_of_sqlite(url: str) -> Path | None:
    scheme, _, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not path or path.startswith(":memory:"):
        return None
    return Path(path.partition("?")[0]).absolute().parent
