"""Profiles are attached to a version's bytes; a run is kept once, with all that is remembered, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlserve.core.digests import digest_bytes
from mlserve.core.evidence import Evidence
from mlserve.core.refs import parse_ref
from mlserve.errors import Conflict, NotFound
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.drifting import (
    DriftState,
    NewRun,
    attach_profile,
    find_run,
    profile_of,
    profiles_of,
    record_run,
    runs_of,
    state_of,
)
from mlserve.registry.evidencing import evidence_of
from mlserve.registry.leases import acquire
from mlserve.registry.records import DriftProfile
from mlserve.registry.store import Store
from tests.registry.making import add_version, at

FRAUD = parse_ref("fraud:1")
DIGEST = digest_bytes(b"one")


def attach(store: Store, artefacts: ArtefactStore, content: bytes = b"profile", minutes: float = 0) -> DriftProfile:
    entry = artefacts.put_bytes(content)
    return attach_profile(store, FRAUD, entry, "sha256:data", by="ann", now=at(minutes))


def run_of(profile: DriftProfile, key: str = "a", **changes: object) -> NewRun:
    run = NewRun(
        digest_bytes(key.encode()), profile.id, digest_bytes(b"w"), at(0), at(60), 100, "ok", {"verdict": "ok"}
    )
    return replace(run, **changes)  # type: ignore[arg-type]


@pytest.fixture
def profile(store: Store, artefacts: ArtefactStore) -> DriftProfile:
    add_version(store, artefacts)
    return attach(store, artefacts)


def test_a_version_without_a_profile_says_how_to_get_one(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts)

    with pytest.raises(NotFound, match="'fraud:1' has no drift profile") as error:
        profile_of(store, FRAUD)

    assert error.value.hint == "mlserve drift fit fraud:1 --reference DATA"


def test_the_profile_that_was_fitted_last_is_in_force(
    store: Store, artefacts: ArtefactStore, profile: DriftProfile
) -> None:
    other = attach(store, artefacts, b"other", minutes=1)
    assert profile_of(store, FRAUD) == other

    again = attach(store, artefacts, b"profile", minutes=2)

    assert (again.id, again.fitted_at) == (profile.id, at(2))
    assert profiles_of(store, DIGEST) == [again, other]


def test_fitting_the_same_again_changes_nothing(store: Store, artefacts: ArtefactStore, profile: DriftProfile) -> None:
    assert attach(store, artefacts, minutes=5) == profile
    assert profiles_of(store, DIGEST) == [profile]


def test_a_run_comes_back_with_what_is_remembered(store: Store, profile: DriftProfile) -> None:
    assert state_of(store, profile.id) == DriftState()

    kept, created = record_run(store, run_of(profile), DriftState(0, {"lord": {"t": 1}}, at(60)), by="ann", now=at(61))

    assert created
    assert find_run(store, kept.run_key) == kept
    assert (kept.verdict, kept.window_end, kept.document) == ("ok", at(60), {"verdict": "ok"})
    assert state_of(store, profile.id) == DriftState(1, {"lord": {"t": 1}}, at(60))
    assert find_run(store, digest_bytes(b"none")) is None


def test_the_same_run_again_is_the_first_and_changes_nothing(store: Store, profile: DriftProfile) -> None:
    first, _ = record_run(store, run_of(profile), DriftState(watermark=at(60)), by="ann", now=at(61))

    other = run_of(profile, verdict="critical")
    again, created = record_run(store, other, DriftState(0, {"x": 1}, at(99)), by="bob", now=at(62))

    assert (again, created) == (first, False)
    assert state_of(store, profile.id) == DriftState(1, {}, at(60))


def test_a_check_that_read_an_older_state_is_refused_whole(store: Store, profile: DriftProfile) -> None:
    read = state_of(store, profile.id)
    record_run(store, run_of(profile, "a"), read, by="ann", now=at(61))

    with pytest.raises(Conflict, match="another drift check"):
        record_run(store, run_of(profile, "b"), read, by="bob", now=at(62))

    assert [run.run_key for run in runs_of(store, DIGEST)] == [digest_bytes(b"a")]
    record_run(store, run_of(profile, "b"), state_of(store, profile.id), by="bob", now=at(63))
    assert [run.run_key for run in runs_of(store, DIGEST, limit=1)] == [digest_bytes(b"b")]


def test_a_run_whose_lease_was_lost_is_refused(store: Store, profile: DriftProfile) -> None:
    lost = acquire(store, "drift fraud:1", "one", now=at(0), ttl_s=60)
    acquire(store, "drift fraud:1", "other", now=at(2), ttl_s=60)

    with pytest.raises(Conflict, match="was lost"):
        record_run(store, run_of(profile), DriftState(), by="ann", now=at(3), lease=lost)

    assert runs_of(store, DIGEST) == []


def test_evidence_is_recorded_with_the_run(store: Store, profile: DriftProfile) -> None:
    item = Evidence("drift", DIGEST, True, {"verdict": "ok"}, at(61), "ann", digest_bytes(b"w"))

    record_run(store, run_of(profile), DriftState(), by="ann", now=at(61), evidence=[item])

    assert evidence_of(store, DIGEST) == [item]
