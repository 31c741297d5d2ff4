"""The schema's revisions: there and back with data, equal to the tables in code, and refused when they don't fit."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from mlserve.core.refs import parse_ref
from mlserve.errors import InvalidConfig, InvalidInput, NotFound, Unavailable, Unsupported, UsageError
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.connecting import make_engine, parse_url
from mlserve.registry.migrating import backup, check, current, downgrade, scripts_folder, upgrade
from mlserve.registry.schema import HEAD, REVISIONS, VERSION_TABLE, metadata
from mlserve.registry.store import open_store
from mlserve.registry.versions import get_version
from tests.registry.making import add_version, move


def test_upgrade_makes_a_schema_where_there_is_none(empty_url: str) -> None:
    revisions = upgrade(empty_url)

    assert (revisions.before, revisions.after, revisions.in_sync) == (None, HEAD, True)
    assert check(empty_url).in_sync


def test_upgrading_again_changes_nothing(url: str) -> None:
    assert upgrade(url).before == HEAD


def test_upgrade_downgrade_upgrade_ends_where_it_began(empty_url: str) -> None:
    upgrade(empty_url)

    assert downgrade(empty_url, "base").after is None
    assert upgrade(empty_url).after == HEAD
    assert _differences(empty_url) == []


def test_the_migrated_schema_is_the_one_in_code(url: str) -> None:
    assert _differences(url) == []


def test_an_old_revision_with_data_upgrades(url: str, artefacts: ArtefactStore) -> None:
    store = open_store(url)
    add_version(store, artefacts, content=b"old", metrics={"auc": 0.9})
    move(store, "fraud:1")
    store.close()
    downgrade(url, "0001")
    assert current(url).after == "0001"

    upgrade(url)

    store = open_store(url)
    assert get_version(store, parse_ref("fraud")).metrics == {"auc": 0.9}
    store.close()


def test_an_older_schema_is_refused_with_what_to_do(url: str) -> None:
    downgrade(url, "0001")

    with pytest.raises(InvalidConfig, match="has schema 0001, and this mlserve needs 0005") as refused:
        open_store(url)

    assert refused.value.hint == "mlserve db upgrade"
    with pytest.raises(InvalidConfig):
        check(url)


def test_a_newer_schema_is_refused_with_what_to_do(url: str) -> None:
    _set_revision(url, "9999")

    for call in (open_store, upgrade, check):
        with pytest.raises(InvalidConfig, match="schema 9999, written by a newer mlserve") as refused:
            call(url)
        assert "upgrade the package" in str(refused.value.hint)
    assert current(url).after == "9999"


def test_a_database_without_a_schema_is_refused(url: str) -> None:
    downgrade(url, "base")

    with pytest.raises(InvalidConfig, match="holds no registry") as refused:
        open_store(url)

    assert "mlserve init" in str(refused.value.hint)


def test_downgrading_to_an_unknown_revision_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfig, match="no schema revision '0815'"):
        downgrade(url, "0815")


def test_upgrades_at_the_same_time_wait_for_each_other(empty_url: str) -> None:
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(upgrade(empty_url).after)
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes == [HEAD] * 4


def test_the_code_knows_every_revision_in_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    config.set_main_option("path_separator", "os")

    scripts = ScriptDirectory.from_config(config)

    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(REVISIONS))
    assert scripts.get_heads() == [HEAD]


def test_upgrading_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        upgrade(f"sqlite:///{tmp_path}/missing/registry.db")


def test_upgrading_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)

    with pytest.raises(InvalidConfig, match="is not a SQLite database"):
        upgrade(f"sqlite:///{path}")


def test_upgrading_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot open"):
        upgrade(f"sqlite:///{tmp_path}")


def test_current_needs_a_registry(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        current(f"sqlite:///{tmp_path}/none.db")

    assert missing.value.hint == "mlserve init"


def test_a_backup_is_a_registry_of_its_own(store, url: str, artefacts: ArtefactStore, tmp_path: Path, dialect) -> None:
    add_version(store, artefacts)
    target = tmp_path / "backup.db"

    if dialect == "postgresql":
        with pytest.raises(Unsupported) as refused:
            backup(url, target)
        assert str(refused.value.hint).startswith("pg_dump ")
        return
    backup(url, target)

    copy = open_store(f"sqlite:///{target}")
    assert get_version(copy, parse_ref("fraud:1")).name == "fraud"
    copy.close()


def test_a_backup_onto_the_registry_itself_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "registry.db"
    upgrade(f"sqlite:///{source}")
    (tmp_path / "link.db").symlink_to(source)

    for target in (source, tmp_path / "link.db", tmp_path / "registry.db-wal"):
        with pytest.raises(UsageError, match="is the registry itself"):
            backup(f"sqlite:///{source}", target)


def test_a_backup_to_a_folder_that_is_not_there_is_no_fault_of_the_registry(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'registry.db'}")

    with pytest.raises(InvalidInput, match="cannot write"):
        backup(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "absent" / "backup.db")


def test_a_backup_of_a_damaged_file_leaves_nothing_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "backup.db"
    source.write_text("not a database " * 100)

    with pytest.raises(Unavailable, match="cannot back up"):
        backup(f"sqlite:///{source}", target)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.db"]


def test_rows_that_refer_to_nothing_stop_an_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    upgrade(url)
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        connection.execute("INSERT INTO policies VALUES (1, 77, 1, '{}', '2026-01-01', 'ann')")
    connection.close()

    with pytest.raises(InvalidConfig, match="1 rows that refer to nothing"):
        upgrade(url)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        pytest.param("stage_history", "reason = 'another'", id="history"),
        pytest.param("model_versions", "digest = 'sha256:other'", id="the digest of a version"),
        pytest.param("model_versions", "version = 7", id="the number of a version"),
        pytest.param("model_versions", "signature = '{}'", id="the signature of a version"),
        pytest.param("version_files", "path = 'other'", id="the files of a version"),
        pytest.param("version_metrics", "value = 1.0", id="a metric"),
        pytest.param("evidence", "passed = NULL", id="evidence"),
    ],
)
def test_what_is_recorded_cannot_be_changed_or_deleted(store, url, artefacts, table: str, change: str) -> None:
    from tests.registry.making import loaded

    add_version(store, artefacts, metrics={"auc": 0.5}, evidence=[loaded(b"one")])
    move(store, "fraud:1")
    engine = make_engine(parse_url(url))

    for statement in (f"UPDATE {table} SET {change}", f"DELETE FROM {table}"):
        with pytest.raises(Exception, match="never changes"), engine.begin() as connection:
            connection.execute(text(statement))

    engine.dispose()


def _differences(url: str) -> list[object]:
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    return list(found)


def _set_revision(url: str, revision: str) -> None:
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    engine.dispose()
