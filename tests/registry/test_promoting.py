"""Promote, roll back, withdraw: what moves, what is refused, what is written down."""

from __future__ import annotations

import pytest

from mlserve.core.refs import Stage, parse_ref
from mlserve.errors import Conflict, InvalidInput, NotFound, UsageError
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import epoch, placements
from mlserve.registry.history import history
from mlserve.registry.policies import parse_policy, set_policy
from mlserve.registry.promoting import rollback, withdraw
from mlserve.registry.records import parse_expect
from mlserve.registry.seats import Transfer, read_seat, transfer_seat
from mlserve.registry.store import Store
from mlserve.registry.versions import archive, get_version, unarchive
from tests.registry.making import NOON, WIDER, add_version, add_versions, at, loaded, move

PRODUCTION = Stage.PRODUCTION


@pytest.fixture
def three(store: Store, artefacts: ArtefactStore) -> Store:
    """A registry with ``fraud:1``, ``fraud:2`` and ``fraud:3``, none in any stage."""
    add_versions(store, artefacts, 3)
    return store


def back(store: Store, **options) -> str | None:
    return rollback(store, "fraud", **({"by": "ann", "now": NOON} | options)).ref


def test_a_promotion_says_what_stood_there_before(three: Store) -> None:
    first, second = move(three, "fraud:1"), move(three, "fraud:2", now=at(1))

    assert (first.ref, first.previous, first.generation, first.changed) == ("fraud:1", None, 1, True)
    assert (second.ref, second.previous, second.generation) == ("fraud:2", "fraud:1", 2)
    assert get_version(three, parse_ref("fraud")).ref == "fraud:2"


def test_a_version_holds_several_stages(three: Store) -> None:
    move(three, "fraud:1", Stage.SHADOW)
    move(three, "fraud@shadow", Stage.PRODUCTION)

    assert get_version(three, parse_ref("fraud:1")).stages == [Stage.SHADOW, Stage.PRODUCTION]


def test_promoting_what_is_there_already_changes_nothing(three: Store) -> None:
    move(three, "fraud:1")
    before = epoch(three)

    again = move(three, "fraud:1", force=True, reason="to be sure")

    assert (again.changed, again.allowed, again.generation, again.previous) == (False, True, 1, "fraud:1")
    assert (epoch(three), len(history(three, "fraud"))) == (before, 1)


def test_another_share_of_traffic_is_a_move(three: Store) -> None:
    move(three, "fraud:2", Stage.CHALLENGER, traffic=0.05)

    more = move(three, "fraud:2", Stage.CHALLENGER, traffic=0.1)

    assert (more.changed, more.generation) == (True, 2)
    assert [place.traffic for place in placements(three)] == [0.1]
    assert not move(three, "fraud:2", Stage.CHALLENGER).changed


@pytest.mark.parametrize(
    ("expect", "holder", "is_refused"),
    [
        pytest.param("none", None, False, id="nothing, and nothing is there"),
        pytest.param("none", "fraud:1", True, id="nothing, and something is there"),
        pytest.param("fraud:1", "fraud:1", False, id="the holder"),
        pytest.param("fraud:3", "fraud:1", True, id="another version"),
        pytest.param("fraud:99", "fraud:1", True, id="a version that never was"),
        pytest.param("fraud:1", None, True, id="a version, and nothing is there"),
        pytest.param("fraud@production", "fraud:1", False, id="a stage"),
    ],
)
def test_another_holder_than_expected_is_a_conflict(three, expect: str, holder: str | None, is_refused: bool) -> None:
    if holder is not None:
        move(three, holder)

    if not is_refused:
        assert move(three, "fraud:2", expect=parse_expect(expect)).changed
        return
    for dry_run in (True, False):
        with pytest.raises(Conflict, match="production of 'fraud' holds"):
            move(three, "fraud:2", expect=parse_expect(expect), dry_run=dry_run)


def test_an_expectation_is_checked_even_when_nothing_would_change(three: Store) -> None:
    move(three, "fraud:2")

    with pytest.raises(Conflict, match="holds 'fraud:2', not 'fraud:1'"):
        move(three, "fraud:2", expect=parse_expect("fraud:1"))


def test_another_model_cannot_be_expected(three: Store) -> None:
    with pytest.raises(UsageError, match="'churn:1' cannot be expected"):
        move(three, "fraud:2", expect=parse_expect("churn:1"))


def test_without_a_policy_missing_evidence_is_a_warning(three: Store) -> None:
    answer = move(three, "fraud:1")

    assert answer.changed
    assert answer.warnings == ("loads: no evidence that this version loads",)


def test_a_version_that_did_not_load_is_refused(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts, content=b"broken", evidence=[loaded(b"broken", passed=False)])

    refused = move(store, "fraud:1")

    assert (refused.allowed, refused.changed, refused.generation) == (False, False, 0)
    assert [gate.name for gate in refused.gates if gate.passed is False] == ["loads"]
    assert history(store, "fraud") == []


def test_a_signature_that_breaks_clients_is_refused(three: Store, artefacts: ArtefactStore) -> None:
    add_version(three, artefacts, content=b"wider", signature=WIDER)
    move(three, "fraud:1")

    refused = move(three, "fraud:4", Stage.STAGING)

    assert not refused.allowed
    assert refused.gates[1].detail == "input 'x' was [-1, 4] and is [-1, 5]"


def test_force_passes_the_gates_and_is_recorded(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts, content=b"broken", evidence=[loaded(b"broken", passed=False)])

    forced = move(store, "fraud:1", force=True, reason=" known good ")

    assert (forced.changed, forced.forced) == (True, True)
    (entry,) = history(store, "fraud")
    assert (entry.forced, entry.reason, entry.gates[0]["passed"]) == (True, "known good", False)


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_force_needs_a_reason(three: Store, reason: str | None) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        move(three, "fraud:1", force=True, reason=reason)


def test_a_dry_run_judges_and_changes_nothing(three: Store) -> None:
    set_policy(three, "fraud", parse_policy('[production]\nrequire = [{kind = "parity"}]'), by="ann", now=NOON)
    before = epoch(three)

    answer = move(three, "fraud:1", dry_run=True)

    assert (answer.dry_run, answer.allowed, answer.changed, answer.generation) == (True, False, False, 0)
    assert [gate.name for gate in answer.gates] == ["loads", "signature", "parity"]
    assert epoch(three) == before


def test_the_policy_in_force_is_part_of_history(three: Store) -> None:
    set_policy(three, "fraud", parse_policy("[production]\nrequire = []"), by="ann", now=NOON)

    move(three, "fraud:1")

    assert [gate["name"] for gate in history(three, "fraud")[0].gates] == ["loads", "signature"]


@pytest.mark.parametrize("traffic", [-0.1, 1.5, float("nan")])
def test_traffic_is_a_share(three: Store, traffic: float) -> None:
    with pytest.raises(UsageError, match="traffic is a share"):
        move(three, "fraud:1", Stage.CHALLENGER, traffic=traffic)


def test_an_archived_version_enters_no_stage_until_unarchived(three: Store) -> None:
    archive(three, parse_ref("fraud:1"))

    for options in ({}, {"force": True, "reason": "now"}, {"dry_run": True}):
        with pytest.raises(Conflict, match="'fraud:1' is archived"):
            move(three, "fraud:1", **options)

    unarchive(three, parse_ref("fraud:1"))
    assert move(three, "fraud:1").changed


@pytest.mark.parametrize("reason", ["nul \0", "half \ud800", "x" * 10_001], ids=["nul", "surrogate", "too long"])
def test_a_reason_that_no_database_keeps_is_refused(three: Store, reason: str) -> None:
    with pytest.raises(InvalidInput, match="the reason"):
        move(three, "fraud:1", reason=reason)


def test_an_unknown_version_names_the_latest(three: Store) -> None:
    with pytest.raises(NotFound, match=r"no version 7 of 'fraud' \(the latest is 3\)"):
        move(three, "fraud:7")


def test_an_empty_stage_says_how_to_fill_it(three: Store) -> None:
    with pytest.raises(NotFound, match="no version of 'fraud' is in staging") as empty:
        move(three, "fraud@staging")

    assert empty.value.hint == "mlserve promote fraud:3 --to staging"


def test_a_generation_that_somebody_else_took_is_a_conflict(three: Store) -> None:
    move(three, "fraud:1")
    with three.reading() as connection:
        seen = read_seat(connection, 1, PRODUCTION)
    move(three, "fraud:2")

    with pytest.raises(Conflict, match="somebody else changed production first"), three.writing() as connection:
        transfer_seat(connection, seen, Transfer("promote", 3, "bob", NOON, None))

    assert get_version(three, parse_ref("fraud")).ref == "fraud:2"


def test_rollback_goes_further_back_each_time(three: Store) -> None:
    for ref in ("fraud:1", "fraud:2", "fraud:3"):
        move(three, ref)

    assert (back(three), back(three)) == ("fraud:2", "fraud:1")
    with pytest.raises(NotFound, match="nothing is left to roll 'fraud' back to") as nothing:
        back(three)

    assert nothing.value.hint == "mlserve history fraud"
    assert [entry.action for entry in history(three, "fraud")[:2]] == ["rollback", "rollback"]


def test_rollback_never_returns_to_what_was_rolled_back_from(three: Store) -> None:
    move(three, "fraud:1")
    move(three, "fraud:2")
    back(three)
    move(three, "fraud:3")

    assert back(three) == "fraud:1"


def test_rollback_passes_over_an_archived_version(three: Store) -> None:
    for ref in ("fraud:1", "fraud:2", "fraud:3"):
        move(three, ref)
    archive(three, parse_ref("fraud:2"))

    assert back(three, reason="it is slow") == "fraud:1"
    assert history(three, "fraud")[0].reason == "it is slow"


def test_rollback_of_a_model_that_never_was_in_production_finds_nothing(three: Store) -> None:
    with pytest.raises(NotFound, match="nothing is left"):
        back(three)


def test_rollback_brings_back_what_was_withdrawn(three: Store) -> None:
    move(three, "fraud:1")
    withdraw(three, "fraud", PRODUCTION, by="ann", now=at(1))

    assert back(three) == "fraud:1"


def test_withdrawing_empties_a_stage_and_counts_as_a_move(three: Store) -> None:
    move(three, "fraud:1", Stage.SHADOW)

    answer = withdraw(three, "fraud", Stage.SHADOW, by="bob", now=at(1), reason="done")

    assert (answer.ref, answer.previous, answer.generation, answer.changed) == (None, "fraud:1", 2, True)
    assert placements(three) == []
    assert history(three, "fraud")[0].to_dict() == {
        "name": "fraud",
        "stage": "shadow",
        "generation": 2,
        "action": "withdraw",
        "ref": None,
        "previous": "fraud:1",
        "traffic": None,
        "forced": False,
        "reason": "done",
        "by": "bob",
        "at": "2026-03-01T12:01:00Z",
        "gates": [],
    }


def test_withdrawing_from_an_empty_stage_changes_nothing(three: Store) -> None:
    answer = withdraw(three, "fraud", Stage.SHADOW, by="ann", now=NOON)

    assert (answer.changed, answer.generation, answer.allowed) == (False, 0, True)
