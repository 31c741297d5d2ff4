"""Bringing a database to the schema that this code needs: upgrade, check, backup. Nothing else ever migrates.

The revisions are in ``migrations/`` (a checkout) or ``mlserve/_migrations`` (a wheel). One upgrade is one transaction,
all revisions or none, and excludes every other: by SQLite's writer lock or a PostgreSQL advisory lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, text

import mlserve
from mlserve.core.files import replacing
from mlserve.errors import InvalidConfig, NotFound, Unavailable, Unsupported, UsageError
from mlserve.registry.connecting import WRITES, errors_of, make_engine, masked, parse_url, sqlite_path
from mlserve.registry.records import Revisions
from mlserve.registry.schema import HEAD, REVISIONS
from mlserve.registry.store import check_revision, read_revision

# Any number that no other program locks by chance: the first bytes of sha256("mlserve").
_ADVISORY_LOCK = 0x6D6C7365


def upgrade(url: str) -> Revisions:
    """Bring the database at ``url`` to the newest schema, making it where there is none.

    Raises InvalidConfig for a bad URL or a schema newer than this code, MissingExtra, NotFound when the folder of a
    SQLite file is not there, Unavailable.
    """
    path = sqlite_path(parse_url(url))
    if path is not None:
        _make_sqlite(path)

    def run(connection: Connection, before: str | None) -> None:
        if before is not None and before not in REVISIONS:
            check_revision(before, masked(parse_url(url)))
        _alembic(connection, lambda command, config: command.upgrade(config, HEAD))

    return _migrate(url, run)


def downgrade(url: str, revision: str) -> Revisions:
    """Take the schema back to ``revision`` (``base``: to nothing), dropping what later ones brought.

    Raises InvalidConfig for a revision that this code does not know, and as ``upgrade``.
    """
    if revision not in (*REVISIONS, "base"):
        raise InvalidConfig(f"no schema revision '{revision}'", hint=f"there are {', '.join(REVISIONS)} and base")
    return _migrate(
        url, lambda connection, _: _alembic(connection, lambda command, config: command.downgrade(config, revision))
    )


def current(url: str) -> Revisions:
    """The revision that the database at ``url`` has. Raises InvalidConfig, MissingExtra, NotFound, Unavailable."""
    parsed = parse_url(url)
    _need_file(parsed.database, sqlite_path(parsed))
    with _engine(parsed) as engine, engine.connect() as connection:
        revision = read_revision(connection)
    return Revisions(revision, revision, HEAD)


def check(url: str) -> Revisions:
    """As ``current``, but refuses a schema that this code cannot work with: InvalidConfig saying what to do."""
    revisions = current(url)
    check_revision(revisions.after, masked(parse_url(url)))
    return revisions


def backup(url: str, to: Path) -> Path:
    """A consistent copy of a SQLite registry at ``to``, made while others read and write; returns ``to``.

    Raises Unsupported for PostgreSQL, naming the tool that does it; UsageError where ``to`` is the registry; NotFound,
    InvalidInput where ``to`` cannot be written, Unavailable.
    """
    parsed = parse_url(url)
    source = sqlite_path(parsed)
    if source is None:
        raise Unsupported(
            "a PostgreSQL registry is not backed up by mlserve",
            hint=f"pg_dump --format=custom --file={to} {masked(parsed.set(drivername='postgresql'))}",
        )
    _need_file(parsed.database, source)
    _refuse_itself(to, source)
    with replacing(to) as partial:
        partial.touch()
        try:
            with closing(sqlite3.connect(source, timeout=10)) as old, closing(sqlite3.connect(partial)) as new:
                old.backup(new)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot back up '{source}' to '{to}': {error}") from error
    return to


def _refuse_itself(to: Path, source: Path) -> None:
    # Another file under the name of an open database: its servers would go on with the old one, and SQLite with a log
    # that belongs to it.
    live = [source.resolve(), *(source.resolve().with_name(source.resolve().name + end) for end in ("-wal", "-shm"))]
    if to.resolve() in live:
        raise UsageError(f"'{to}' is the registry itself", hint="mlserve db backup with another name")


def _migrate(url: str, run: Callable[[Connection, str | None], None]) -> Revisions:
    parsed = parse_url(url)
    _need_file(parsed.database, sqlite_path(parsed))
    with _engine(parsed, writes=True) as engine, engine.connect() as connection, connection.begin():
        _exclude_others(connection)
        before = read_revision(connection)
        run(connection, before)
        _check_foreign_keys(connection)
        after = read_revision(connection)
    return Revisions(before, after, HEAD)


@contextmanager
def _engine(url: URL, *, writes: bool = False) -> Iterator[Engine]:
    engine = make_engine(url, foreign_keys=False)
    try:
        with errors_of(url):
            yield engine.execution_options(**{WRITES: writes})
    finally:
        engine.dispose()


def _exclude_others(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if dangling:
            raise InvalidConfig(f"the registry has {len(dangling)} rows that refer to nothing", hint="restore a backup")


def _alembic(connection: Connection, run: Callable[..., None]) -> None:
    # Alembic takes 100 ms to import, which only migrations should pay.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    run(command, config)


def scripts_folder() -> Path:
    """The folder of the revisions, in a wheel or in a checkout. Raises InvalidConfig for a damaged installation."""
    package = Path(mlserve.__file__).parent
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise InvalidConfig(f"the schema's revisions are missing from '{package}'", hint="install mlserve again")


def _make_sqlite(path: Path) -> None:
    if not path.parent.is_dir():
        raise NotFound(f"no folder '{path.parent}'", hint=f"mkdir -p '{path.parent}'")
    try:
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            # Stored in the file, so once is enough; readers and the writer then don't wait for each other.
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        raise Unavailable(f"cannot open '{path}': {error}") from error
    except sqlite3.DatabaseError as error:
        raise InvalidConfig(f"'{path}' is not a SQLite database") from error


def _need_file(database: str | None, path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise NotFound(f"no registry at '{database}'", hint="mlserve init")
