"""A frozen model's versions stay out of production until it is thawed or somebody forces one in."""

from __future__ import annotations

import pytest

from mlserve.core.refs import Stage, parse_ref
from mlserve.errors import Conflict, NotFound
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.freezing import freeze, freeze_of, thaw
from mlserve.registry.promoting import rollback
from mlserve.registry.records import Expect
from mlserve.registry.store import Store
from tests.registry.making import add_versions, at, move


def test_a_frozen_model_may_not_enter_production_but_every_other_stage(store: Store, artefacts: ArtefactStore) -> None:
    add_versions(store, artefacts, 2)
    freeze(store, "fraud", reason="run abc: critical", by="drift", now=at(0))

    refused = move(store, "fraud:2")

    assert (refused.allowed, refused.changed) == (False, False)
    (gate,) = [gate for gate in refused.gates if gate.passed is False]
    assert gate.name == "drift freeze"
    assert gate.detail == ("frozen by drift at 2026-03-01T12:00:00Z: run abc: critical; mlserve drift thaw fraud")
    assert move(store, "fraud:2", dry_run=True).allowed is False
    assert move(store, "fraud:2", Stage.SHADOW).changed
    assert move(store, "fraud:1", force=True, reason="we know").forced


def test_a_thawed_model_goes_on_whatever_the_clocks_say(store: Store, artefacts: ArtefactStore) -> None:
    add_versions(store, artefacts, 1)
    freeze(store, "fraud", reason="critical", by="drift", now=at(10))

    lifted = thaw(store, "fraud", reason="retrained", by="ann", now=at(5))

    assert (lifted.frozen, lifted.changed, lifted.by) == (False, True, "ann")
    assert freeze_of(store, "fraud").frozen is False
    assert move(store, "fraud:1").changed


def test_freezing_and_thawing_again_changes_nothing(store: Store, artefacts: ArtefactStore) -> None:
    add_versions(store, artefacts, 1)
    assert thaw(store, "fraud", reason=None, by="ann", now=at(0)).changed is False
    first = freeze(store, "fraud", reason="first", by="drift", now=at(1))

    again = freeze(store, "fraud", reason="second", by="drift", now=at(2))

    assert first.changed
    assert (again.changed, again.reason, again.at) == (False, "first", at(1))


def test_another_model_is_not_frozen_and_one_that_is_not_there_is_an_error(
    store: Store, artefacts: ArtefactStore
) -> None:
    add_versions(store, artefacts, 1)
    add_versions(store, artefacts, 1, "churn")
    freeze(store, "churn", reason="critical", by="drift", now=at(0))

    assert move(store, "fraud:1").changed
    with pytest.raises(NotFound):
        freeze_of(store, "none")


def test_a_rollback_that_expects_another_holder_is_refused(store: Store, artefacts: ArtefactStore) -> None:
    add_versions(store, artefacts, 2)
    move(store, "fraud:1")
    move(store, "fraud:2", now=at(1))

    with pytest.raises(Conflict, match="holds 'fraud:2', not 'fraud:1'"):
        rollback(store, "fraud", by="drift", now=at(2), expect=Expect(parse_ref("fraud:1")))

    assert rollback(store, "fraud", by="drift", now=at(2), expect=Expect(parse_ref("fraud:2"))).ref == "fraud:1"
