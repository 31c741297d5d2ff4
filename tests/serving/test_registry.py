"""The registry as upstream: what is promoted there is fetched, verified and answered here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from mlserve.core.evidence import Evidence
from mlserve.core.refs import Stage, parse_ref
from mlserve.errors import Conflict, CorruptArtefact, NotFound, Unavailable
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.captures import captures_of
from mlserve.registry.following import lagging, live_instances
from mlserve.registry.migrating import upgrade
from mlserve.registry.store import Store, open_store
from mlserve.registry.versions import archive
from mlserve.runtime.certificate import Certificate, certify
from mlserve.runtime.golden import make_golden
from mlserve.runtime.model import load_model
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.following import GONE, wanted_of
from mlserve.serving.loading import LoadOptions, Wanted, load_version
from mlserve.serving.registry import Identity, RegistryUpstream, latest_certificate, without_paths
from tests import models
from tests.registry.making import NOON, add_version, at, move

MODEL = models.classifier().SerializeToString()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    upgrade(url)
    return open_store(url)


@pytest.fixture
def artefacts(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(str(tmp_path / "artefacts"))


@pytest.fixture
def upstream(store: Store, artefacts: ArtefactStore) -> RegistryUpstream:
    return RegistryUpstream(store, artefacts, Identity("i1", "host", 42, NOON), lambda: NOON)


def certificate(**changes: object) -> Certificate:
    made = certify(load_model(MODEL, device="cpu", threads=ThreadPlan(1, 1)))
    return replace(made, **changes)  # type: ignore[arg-type]


def measured(figures: Certificate, digest: str, **more: object) -> Evidence:
    said = {"measured_at": NOON, "measured_by": "ann"} | more
    return Evidence("certificate", digest, True, figures.to_dict(), **said)  # type: ignore[arg-type]


def test_what_is_promoted_is_placed_fetched_and_loaded(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    rows = {"x": np.ones((2, 4), np.float32)}
    answers = make_golden(load_model(MODEL, device="cpu"), rows)
    before = upstream.epoch()
    version = add_version(store, artefacts, "fraud", MODEL, golden=answers).version
    move(store, "fraud:1")

    (placement,) = upstream.placements(["fraud"])
    fetched = upstream.fetch(placement)

    assert upstream.epoch() > before
    assert (placement.name, placement.stage, placement.version) == ("fraud", "production", 1)
    assert placement.digest == version.digest
    assert fetched.golden == answers
    assert fetched.path.read_bytes() == MODEL
    wanted = Wanted("fraud", 1, ("production",), placement.digest, lambda: fetched)
    assert load_version(wanted, LoadOptions("cpu", ThreadPlan(1, 1), None, 5.0)).certificate.batchable


def test_a_model_without_stages_has_no_placement_and_an_unknown_one_is_not_found(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    add_version(store, artefacts, "fraud", MODEL)

    assert upstream.placements(["fraud"]) == []
    with pytest.raises(NotFound, match="fruad"):
        upstream.placements(["fraud", "fruad"])


def test_bytes_that_were_changed_are_not_served(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream, tmp_path: Path
) -> None:
    add_version(store, artefacts, "fraud", MODEL)
    move(store, "fraud:1")
    (placement,) = upstream.placements(["fraud"])
    for path in (tmp_path / "artefacts").rglob("*"):
        if path.is_file() and path.read_bytes() == MODEL:
            path.chmod(0o644)
            path.write_bytes(MODEL[:-1] + b"?")

    with pytest.raises(CorruptArtefact):
        upstream.fetch(placement)


def test_reports_are_what_promote_waits_for(store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream) -> None:
    add_version(store, artefacts, "fraud", MODEL)
    generation = move(store, "fraud:1").generation

    upstream.report({("fraud", "production"): 0}, {}, "ready")
    assert [instance.pid for instance in lagging(store, "fraud", Stage.PRODUCTION, generation, NOON)] == [42]
    upstream.report({("fraud", "production"): generation}, {}, "ready")
    assert lagging(store, "fraud", Stage.PRODUCTION, generation, NOON) == []
    upstream.report({}, {}, GONE)
    assert live_instances(store, NOON) == []


def test_who_follows_every_model_is_waited_for_with_each(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    upstream.placements(None)
    upstream.report({}, {}, "ready")

    assert [server.instance_id for server in lagging(store, "any", Stage.PRODUCTION, 1, NOON)] == ["i1"]


def test_the_newest_certificate_measured_here_is_used(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    digest = add_version(store, artefacts, "fraud", MODEL).version.digest
    old, new = certificate(reason="old"), certificate(reason="new")

    found = latest_certificate(
        [
            measured(new, digest, measured_at=at(5)),
            measured(old, digest),
            measured(certificate(reason="forged"), digest, measured_at=at(9), origin="imported"),
            Evidence("certificate", digest, True, {"batchable": True}, at(8), "ann"),
            Evidence("load", digest, True, {}, at(9), "ann"),
        ]
    )

    assert found == new
    assert latest_certificate([]) is None


def test_where_artefacts_lie_is_not_told_to_clients(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream, tmp_path: Path
) -> None:
    add_version(store, artefacts, "fraud", MODEL)
    move(store, "fraud:1")
    (placement,) = upstream.placements(["fraud"])
    shutil.rmtree(tmp_path / "artefacts")

    with pytest.raises(NotFound, match="no blob sha256:") as caught:
        upstream.fetch(placement)

    assert str(tmp_path) not in caught.value.message
    assert "/" not in caught.value.message


@pytest.mark.parametrize(
    ("message", "told"),
    [
        pytest.param("no blob sha256:aa in 's3://bucket/x'", "no blob sha256:aa in '…'", id="a bucket"),
        pytest.param("it is /srv/models", "m:1 cannot be had from the artefact store", id="a bare path"),
        pytest.param("out of reach: 5 s/read", "m:1 cannot be had from the artefact store", id="what may be a path"),
        pytest.param("the disk is full", "the disk is full", id="no place"),
    ],
)
def test_a_place_in_a_message_is_left_out(message: str, told: str) -> None:
    assert without_paths(Unavailable(message), "m:1").message == told
    assert type(without_paths(CorruptArtefact(message), "m:1")) is CorruptArtefact


def test_a_version_without_a_stage_can_be_fetched_unless_it_is_archived(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    add_version(store, artefacts, "fraud", MODEL)

    placement = upstream.unstaged("fraud", 1)

    assert upstream.fetch(placement).path.read_bytes() == MODEL
    assert wanted_of([placement], upstream)[0].stages == ()
    archive(store, parse_ref("fraud:1"))
    with pytest.raises(Conflict, match="archived"):
        upstream.unstaged("fraud", 1)
    with pytest.raises(NotFound, match="no version 7"):
        upstream.unstaged("fraud", 7)


def test_the_registry_is_told_where_traffic_is_captured_once_a_model(
    store: Store, artefacts: ArtefactStore, tmp_path: Path
) -> None:
    moments = iter(NOON + timedelta(minutes=minute) for minute in range(10))
    identity = Identity("i1", "host", 42, NOON)
    upstream = RegistryUpstream(store, artefacts, identity, lambda: next(moments), capture=tmp_path / "capture")

    upstream.report({("fraud", "production"): 1}, {}, "ready")
    upstream.report({("fraud", "production"): 1, ("churn", "production"): 1}, {}, "ready")

    (fraud,), (churn,) = captures_of(store, "fraud"), captures_of(store, "churn")
    assert (fraud.host, fraud.folder) == ("host", str(tmp_path / "capture"))
    assert fraud.reported_at == NOON
    assert churn.reported_at > NOON
