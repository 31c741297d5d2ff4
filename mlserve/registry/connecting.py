"""From a registry URL to an engine: which dialects there are, how a connection is set up, what its errors mean.

SQLite starts its writing transactions with ``BEGIN IMMEDIATE``: a deferred one that reads first and writes later is
refused at once when another writer came between, busy timeout or not (https://www.sqlite.org/lang_transaction.html).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy import exc as foreign

from mlserve.core.plugins import missing_extra
from mlserve.core.refs import did_you_mean
from mlserve.errors import Conflict, InvalidConfig, InvalidInput, MlserveError, Unavailable

BUSY_TIMEOUT_S = 10.0
WRITES = "mlserve_writes"
"""Execution option of connections that are going to write."""

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def parse_url(text: str) -> URL:
    """The URL of a registry with the driver that we use. Raises InvalidConfig.

    >>> parse_url("postgresql://db/registry").drivername
    'postgresql+psycopg'
    """
    try:
        url = make_url(text)
    except (foreign.ArgumentError, ValueError) as error:
        raise InvalidConfig(
            "the registry's URL cannot be read", hint="write sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        ) from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        near = did_you_mean(url.drivername, _DRIVERS) or "there are sqlite and postgresql"
        raise InvalidConfig(f"a registry cannot be a '{url.drivername}' database", hint=near)
    url = url.set(drivername=driver)
    if driver == "sqlite+pysqlite" and url.database in (None, "", ":memory:"):
        raise InvalidConfig("a registry in memory is gone with its process", hint="write sqlite:///PATH")
    return url


def sqlite_path(url: URL) -> Path | None:
    """The database file of a SQLite URL, None for other dialects."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def masked(url: URL) -> str:
    """The URL as it may be printed: ``***`` for the password."""
    return url.render_as_string(hide_password=True)


def make_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    """An engine that opens connections on demand. Raises MissingExtra when the dialect's driver is not installed.

    ``foreign_keys=False`` is for migrations only: SQLite rebuilds tables to alter them.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, foreign_keys=foreign_keys)
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError as error:
        raise missing_extra("psycopg", "postgres") from error


def _sqlite_engine(url: URL, *, foreign_keys: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: Any) -> None:
        # The driver must not begin transactions by its own rules; `begin` below does.
        connection.isolation_level = None
        for pragma in (f"foreign_keys = {int(foreign_keys)}", "synchronous = FULL", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def errors_of(url: URL) -> Iterator[None]:
    """Maps what SQLAlchemy and the drivers raise inside to our errors; the password never gets into a message."""
    try:
        yield
    except foreign.SQLAlchemyError as error:
        mapped = mapped_error(error, url)
        if mapped is None:
            raise
        raise mapped from error


def mapped_error(error: foreign.SQLAlchemyError, url: URL) -> MlserveError | None:
    """Our error for a foreign one; None where it means a bug of ours, which keeps its traceback."""
    name, cause = masked(url), _cause(error, url)
    if getattr(error, "connection_invalidated", False):
        return Unavailable(f"the connection to the registry {name} was lost: {cause}")
    match error:
        case foreign.IntegrityError():
            return Conflict(f"the registry refused the change: {cause}", hint="somebody else was first: look again")
        case foreign.DataError():
            return InvalidInput(f"the registry cannot store this value: {cause}")
        case foreign.OperationalError() | foreign.InterfaceError() | foreign.InternalError() | foreign.TimeoutError():
            return Unavailable(f"the registry {name} is out of reach: {cause}", hint="mlserve doctor")
        case foreign.ProgrammingError() if sqlstate(error) == "42501":
            return Unavailable(f"the registry {name} does not let this user do it: {cause}")
        case foreign.ProgrammingError() | foreign.NotSupportedError():
            return None
        case foreign.DatabaseError():
            return InvalidConfig(f"the registry {name} is not a usable database: {cause}")
        case _:
            return None


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five-character code of an error, None if there is none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def is_transient(error: foreign.DBAPIError) -> bool:
    """Whether the same transaction may well succeed when it is run again from the start.

    SQLite: another writer held the lock for the whole busy timeout. PostgreSQL: serialization failure or deadlock.
    """
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or sqlstate(error) in ("40001", "40P01")


def _cause(error: foreign.SQLAlchemyError, url: URL) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text.replace(url.password, "***") if isinstance(url.password, str) and url.password else text
