"""The open registry: consistent reads, and writes that either happen whole or not at all, never lost to a busy lock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, inspect, select, table, text, update
from sqlalchemy import exc as foreign
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import column

from mlserve.errors import InvalidConfig, NotFound, Unavailable
from mlserve.registry.connecting import (
    WRITES,
    errors_of,
    is_transient,
    make_engine,
    masked,
    parse_url,
    sqlite_path,
)
from mlserve.registry.schema import HEAD, REVISIONS, VERSION_TABLE, registry_epoch

T = TypeVar("T")

ATTEMPTS = 8
"""How often a transaction is begun anew; on SQLite each attempt waits for up to the busy timeout."""


class Store:
    """A registry of the schema that this code knows; made by ``open_store``. Safe to share between threads."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.url = url
        self._engine = engine
        self._path = sqlite_path(engine.url)
        self._file = _identity(self._path)
        is_sqlite = engine.dialect.name == "sqlite"
        # One snapshot for all that a reader asks; SQLite's transactions are snapshots as they are.
        options = {} if is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = engine.execution_options(**options)
        self._writer = engine.execution_options(**{WRITES: True})

    @property
    def label(self) -> str:
        """The URL as it may be printed, without its password."""
        return masked(self._engine.url)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def check_in_place(self) -> None:
        """Let go of a SQLite file that is no longer under its name, which open connections would go on reading.

        Another file there is opened anew. Raises Unavailable where there is none.
        """
        if self._path is None or self._file is None:
            return
        now = _identity(self._path)
        if now is None:
            raise Unavailable(f"the registry {self.label} is out of reach: its file is gone", hint="mlserve doctor")
        if now != self._file:
            self._engine.dispose()
            self._file = now

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the registry throughout. Raises Unavailable."""
        with errors_of(self._engine.url), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One writing transaction: committed at the end, rolled back on any exception. Raises Unavailable.

        The body runs once, so a deadlock or serialization failure ends it; ``write`` runs a function again instead.
        """
        with errors_of(self._engine.url), self._writer.connect() as connection, connection.begin():
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work`` in one writing transaction, run again from the start when a lock was lost.

        ``work`` must do nothing but talk to its connection. Raises what it raises, Unavailable.
        """
        with errors_of(self._engine.url):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    with self._writer.connect() as connection, connection.begin():
                        return work(connection)
                except foreign.DBAPIError as error:
                    if attempt == ATTEMPTS or not is_transient(error):
                        raise
                    time.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()


def open_store(url: str) -> Store:
    """The registry at ``url``, a SQLAlchemy URL of SQLite or PostgreSQL; never migrates it.

    Raises InvalidConfig for a URL that cannot be used and for a schema older or newer than this code, MissingExtra
    without the dialect's driver, NotFound for a SQLite file that is not there, Unavailable.
    """
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if path is not None and not path.is_file():
        raise NotFound(f"no registry at '{path}'", hint="mlserve init")
    engine = make_engine(parsed)
    try:
        with errors_of(parsed), engine.connect() as connection:
            check_revision(read_revision(connection), masked(parsed))
    except BaseException:
        engine.dispose()
        raise
    return Store(url, engine)


def read_revision(connection: Connection) -> str | None:
    """The revision of the schema in this database, None where there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    return found


def check_revision(revision: str | None, where: str) -> None:
    """Nothing when ``revision`` is the one that this code works with. Raises InvalidConfig saying what to do."""
    if revision == HEAD:
        return
    if revision is None:
        raise InvalidConfig(f"the database {where} holds no registry", hint="mlserve init, or mlserve db upgrade")
    if revision in REVISIONS:
        raise InvalidConfig(
            f"the registry {where} has schema {revision}, and this mlserve needs {HEAD}", hint="mlserve db upgrade"
        )
    raise InvalidConfig(
        f"the registry {where} has schema {revision}, written by a newer mlserve than this one (which knows {HEAD})",
        hint="upgrade the package (pip install --upgrade mlserve), or restore a backup of the older schema",
    )


def add_to_epoch(connection: Connection) -> None:
    """Tell everyone who polls that something changed; the last statement of each writing transaction.

    Being last, its row lock can be part of no deadlock, and readers who saw the new epoch see the change.
    """
    connection.execute(update(registry_epoch).where(registry_epoch.c.id == 1).values(epoch=registry_epoch.c.epoch + 1))


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another that comes under its name; None where there is none."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def insert_missing(connection: Connection, into: Table, row: Mapping[str, Any]) -> bool:
    """Insert ``row`` and say so, or leave alone a row that has one of its unique keys."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(into).values(**row).on_conflict_do_nothing().returning(*into.primary_key.columns)
    # RETURNING, because a row count is not kept for such an insert on every dialect.
    return connection.execute(statement).first() is not None


def probe(store: Store) -> None:
    """Nothing when the registry answers. Raises Unavailable."""
    with store.reading() as connection:
        connection.execute(text("SELECT 1"))
