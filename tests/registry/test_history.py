"""What stood where at a time."""

from __future__ import annotations

import pytest

from mlserve.core.refs import Stage
from mlserve.errors import NotFound
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.history import stood_at
from mlserve.registry.promoting import rollback, withdraw
from mlserve.registry.store import Store
from tests.registry.making import add_versions, at, move


@pytest.fixture
def moved(store: Store, artefacts: ArtefactStore) -> Store:
    """fraud:1 at 1, fraud:2 at 3, back to fraud:1 at 5; fraud:3 challenges from 2 to 4."""
    add_versions(store, artefacts, 3)
    move(store, "fraud:1", now=at(1))
    move(store, "fraud:3", Stage.CHALLENGER, now=at(2))
    move(store, "fraud:2", now=at(3))
    withdraw(store, "fraud", Stage.CHALLENGER, by="ann", now=at(4))
    rollback(store, "fraud", by="ben", now=at(5))
    return store


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        pytest.param(0.5, {}, id="before all"),
        pytest.param(1, {"production": "fraud:1"}, id="at the very moment"),
        pytest.param(2.5, {"production": "fraud:1", "challenger": "fraud:3"}, id="two stages"),
        pytest.param(3.5, {"production": "fraud:2", "challenger": "fraud:3"}, id="replaced"),
        pytest.param(4.5, {"production": "fraud:2"}, id="withdrawn"),
        pytest.param(60, {"production": "fraud:1"}, id="rolled back"),
    ],
)
def test_each_stage_held_what_was_last_moved_into_it(moved: Store, minute: float, expected: dict[str, str]) -> None:
    assert {entry.stage.value: entry.ref for entry in stood_at(moved, "fraud", at(minute))} == expected


def test_who_moved_it_there_and_when_goes_along(moved: Store) -> None:
    (entry,) = stood_at(moved, "fraud", at(60))

    assert (entry.action, entry.by, entry.at) == ("rollback", "ben", at(5))


def test_an_unknown_model_stood_nowhere(moved: Store) -> None:
    with pytest.raises(NotFound):
        stood_at(moved, "other", at(1))
