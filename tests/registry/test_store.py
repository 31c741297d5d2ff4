"""Opening a registry, and what its errors say."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy.exc
from sqlalchemy import make_url, select, text, update

import mlserve
from mlserve.errors import Conflict, InvalidConfig, InvalidInput, MissingExtra, MlserveError, NotFound, Unavailable
from mlserve.registry import connecting
from mlserve.registry.connecting import errors_of, mapped_error, parse_url
from mlserve.registry.schema import models, registry_epoch
from mlserve.registry.store import Store, open_store, probe
from tests.registry.making import NOON

SECRET = "hunter2"
REPOSITORY = Path(mlserve.__file__).parent.parent


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        pytest.param("registry.db", "cannot be read", "sqlite:///PATH", id="a bare path"),
        pytest.param("mysql://db/x", "cannot be a 'mysql' database", "sqlite and postgresql", id="another dialect"),
        pytest.param("postgressql://db/x", "'postgressql'", "did you mean 'postgresql'?", id="misspelt"),
        pytest.param("sqlite://", "in memory", "sqlite:///PATH", id="memory"),
        pytest.param("sqlite:///:memory:", "in memory", "sqlite:///PATH", id="memory by name"),
        pytest.param("postgresql://h:port/x", "cannot be read", "sqlite:///PATH", id="no port"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidConfig, match=message) as refused:
        open_store(url)

    assert hint in str(refused.value.hint)


def test_a_file_that_is_not_there_asks_for_init(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no registry at") as missing:
        open_store(f"sqlite:///{tmp_path}/registry.db")

    assert missing.value.hint == "mlserve init"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)

    with pytest.raises(InvalidConfig, match="is not a usable database"):
        open_store(f"sqlite:///{tmp_path}/notes.txt")


def test_a_server_out_of_reach_is_unavailable_and_keeps_the_password() -> None:
    with pytest.raises(Unavailable, match="is out of reach") as unreachable:
        open_store(f"postgresql://ann:{SECRET}@127.0.0.1:9/registry")

    assert SECRET not in unreachable.value.message
    assert "ann:***@127.0.0.1:9" in unreachable.value.message


def test_a_driver_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(MissingExtra) as missing:
        open_store("postgresql://db/registry")

    assert missing.value.hint == "pip install 'mlserve[postgres]'"


def test_a_store_says_where_it_is_without_its_password(store: Store, dialect: str) -> None:
    assert store.dialect == dialect
    assert SECRET not in store.label
    probe(store)


def test_a_failed_write_leaves_nothing(store: Store) -> None:
    row = {"name": "fraud", "created_at": NOON, "created_by": "ann"}

    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert connection.execute(models.insert().values(row)).rowcount / 0

    with store.reading() as connection:
        assert connection.execute(select(models)).all() == []


def test_a_moment_comes_back_in_utc(store: Store) -> None:
    from datetime import timedelta, timezone

    berlin = NOON.astimezone(timezone(timedelta(hours=1)))
    with store.writing() as connection:
        connection.execute(models.insert().values(name="fraud", created_at=berlin, created_by="ann"))

    with store.reading() as connection:
        found = connection.execute(select(models.c.created_at)).scalar_one()
    assert (found, found.utcoffset()) == (NOON, timedelta(0))


def test_a_reader_sees_one_state_throughout(store: Store) -> None:
    def grow() -> None:
        with store.writing() as connection:
            connection.execute(update(registry_epoch).values(epoch=registry_epoch.c.epoch + 1))

    with store.reading() as connection:
        before = connection.execute(select(registry_epoch.c.epoch)).scalar_one()
        writer = threading.Thread(target=grow)
        writer.start()
        writer.join()
        after = connection.execute(select(registry_epoch.c.epoch)).scalar_one()

    assert before == after


def test_a_lost_lock_runs_the_work_again(store: Store) -> None:
    calls = []

    def work(connection) -> str:
        calls.append(len(calls))
        if len(calls) < 3:
            raise sqlalchemy.exc.OperationalError("", {}, Deadlock())
        return "done"

    assert store.write(work) == "done"
    assert calls == [0, 1, 2]


def test_a_lock_that_is_never_free_is_unavailable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(connection) -> None:
        raise sqlalchemy.exc.OperationalError("", {}, Deadlock("deadlock detected"))

    with pytest.raises(Unavailable, match="deadlock detected"):
        store.write(work)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_two_deadlocked_writers_both_finish(store: Store) -> None:
    with store.writing() as connection:
        for name in ("a", "b"):
            connection.execute(models.insert().values(name=name, created_at=NOON, created_by="-"))
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def take(first: str, second: str) -> None:
        def work(connection) -> None:
            tries.append(first)
            connection.execute(update(models).where(models.c.name == first).values(created_by=first))
            if len(tries) <= 2:
                both_hold_one.wait(30)
            connection.execute(update(models).where(models.c.name == second).values(created_by=first))

        store.write(work)

    threads = [threading.Thread(target=take, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with store.reading() as connection:
        owners = set(connection.execute(select(models.c.created_by)).scalars())
    assert len(tries) == 3
    assert len(owners) == 1


class Deadlock(Exception):
    """What psycopg raises for a deadlock, as far as we look at it."""

    sqlstate = "40P01"


MAPPED = {
    sqlalchemy.exc.IntegrityError: Conflict,
    sqlalchemy.exc.DataError: InvalidInput,
    sqlalchemy.exc.OperationalError: Unavailable,
    sqlalchemy.exc.InterfaceError: Unavailable,
    sqlalchemy.exc.InternalError: Unavailable,
    sqlalchemy.exc.DatabaseError: InvalidConfig,
}
BUGS = {sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.NotSupportedError, sqlalchemy.exc.DBAPIError}


def test_every_error_of_a_database_is_ours_or_known_to_be_a_bug() -> None:
    url = make_url(f"postgresql://ann:{SECRET}@db/registry")

    for kind in [sqlalchemy.exc.DBAPIError, *_below(sqlalchemy.exc.DBAPIError)]:
        error = mapped_error(kind("SELECT", {}, Exception(f"it said {SECRET}")), url)
        if kind in BUGS:
            assert error is None
            continue
        assert type(error) is MAPPED[kind]
        assert SECRET not in error.message
        assert "it said ***" in error.message


def test_a_connection_that_was_lost_is_unavailable() -> None:
    lost = sqlalchemy.exc.DBAPIError("SELECT", {}, Exception("gone"), connection_invalidated=True)

    assert isinstance(mapped_error(lost, parse_url("postgresql://db/x")), Unavailable)


def test_missing_rights_are_unavailable_and_other_bad_statements_are_bugs(store: Store) -> None:
    class Denied(Exception):
        sqlstate = "42501"

    assert isinstance(
        mapped_error(sqlalchemy.exc.ProgrammingError("", {}, Denied("no")), parse_url("postgresql://db/x")), Unavailable
    )
    with pytest.raises(sqlalchemy.exc.DBAPIError) as bug, errors_of(parse_url("postgresql://db/x")):
        raise sqlalchemy.exc.ProgrammingError("", {}, Exception("syntax"))
    assert not isinstance(bug.value, MlserveError)


def test_a_pool_that_is_used_up_is_unavailable() -> None:
    assert isinstance(mapped_error(sqlalchemy.exc.TimeoutError("pool"), parse_url("sqlite:////x")), Unavailable)
    assert mapped_error(sqlalchemy.exc.ArgumentError("bug"), parse_url("sqlite:////x")) is None


def test_opening_a_registry_and_promoting_import_nothing_heavy() -> None:
    code = "import sys, mlserve.registry.promoting; print([n for n in sys.argv[1:] if n in sys.modules])"
    heavy = ["alembic", "onnx", "onnxruntime", "torch", "sklearn", "pandas", "fsspec", "psycopg", "numpy"]

    run = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )

    assert run.stdout.strip() == "[]"


def test_foreign_keys_hold(store: Store) -> None:
    with pytest.raises(Conflict, match="refused the change"), store.writing() as connection:
        connection.execute(text("INSERT INTO serving_loads VALUES ('nobody', 'fraud', 'production', 1)"))


def test_the_busy_timeout_is_long_enough_for_a_queue_of_writers() -> None:
    assert connecting.BUSY_TIMEOUT_S >= 10


def _below(kind: type) -> list[type]:
    return [found for direct in kind.__subclasses__() for found in (direct, *_below(direct))]
