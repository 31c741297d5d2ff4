from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from mlserve import wiring
from mlserve.core.settings import Settings
from mlserve.errors import InvalidConfig, NotFound
from mlserve.wiring.connecting import home_of, user_of
from mlserve.wiring.starting import start_project

POSTGRES = "postgresql+psycopg://ann:s3cret@db.example.org/mlserve"


def root_with(**flags: str) -> str:
    return wiring.artefacts_root(wiring.settings_in_force(dict(flags)))


def test_outside_any_project_there_is_no_registry() -> None:
    with pytest.raises(NotFound, match="is in no mlserve project") as caught, wiring.connect():
        raise AssertionError("not reached")

    assert caught.value.hint == "mlserve init"


def test_a_project_keeps_its_artefacts_in_its_home(clean_environment: Path) -> None:
    start_project(Path(), env={})

    assert root_with() == str(clean_environment / ".mlserve" / "artifacts")


def test_artefacts_lie_beside_a_sqlite_registry_that_was_named_alone(clean_environment: Path) -> None:
    start_project(Path(), env={})

    assert root_with(registry="sqlite:////srv/shared/fraud.db") == "/srv/shared/artifacts"
    assert root_with(registry="sqlite:///here.db?mode=rw") == str(clean_environment / "artifacts")


def test_the_setting_says_where_artefacts_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVE_ARTIFACTS", "s3://bucket/prefix")

    assert root_with(registry=POSTGRES) == "s3://bucket/prefix"


def test_a_database_server_alone_does_not_say_where_artefacts_lie() -> None:
    with pytest.raises(InvalidConfig, match="no place for artefacts") as caught:
        root_with(registry=POSTGRES)

    assert "MLSERVE_ARTIFACTS" in (caught.value.hint or "")
    assert "s3cret" not in caught.value.message


def test_in_a_project_a_database_server_uses_the_projects_artefacts(clean_environment: Path) -> None:
    (clean_environment / ".mlserve").mkdir()

    assert root_with(registry=POSTGRES) == str(clean_environment / ".mlserve" / "artifacts")


def test_a_registry_in_memory_has_no_place_beside_it() -> None:
    with pytest.raises(InvalidConfig, match="no place for artefacts"):
        root_with(registry="sqlite:///:memory:")


def test_an_open_registry_knows_who_asks_and_what_time_it_is(clean_environment: Path) -> None:
    start_project(Path(), env={})

    with wiring.connect(flags={"user": "ann"}) as app:
        assert app.user == "ann"
        assert app.clock().tzinfo is not None
        app.artefacts.probe()


def test_the_account_is_who_asks_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_of(Settings(user="ann")) == "ann"
    assert user_of(Settings()) == "tester"

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_of(Settings()) == "unknown"


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ("postgresql://ann:***@db/x", "postgresql://ann:secret@db/x"),
        ("postgresql://ann@db/x", "postgresql://ann@db/x"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        (8000, 8000),
        (None, None),
    ],
)
def test_passwords_are_never_shown(shown: object, value: object) -> None:
    assert wiring.without_password(value) == shown


def test_a_project_has_a_home(clean_environment: Path) -> None:
    assert home_of(wiring.settings_in_force({})) is None
    start_project(Path(), env={})
    assert home_of(wiring.settings_in_force({})) == clean_environment / ".mlserve"
