"""What servers read and say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlserve.core.digests import digest_bytes
from mlserve.core.refs import Stage, parse_ref
from mlserve.errors import Unavailable
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import (
    EVERY_MODEL,
    epoch,
    forget_instance,
    lagging,
    live_instances,
    placements,
    report_instance,
)
from mlserve.registry.migrating import backup, upgrade
from mlserve.registry.promoting import rollback, withdraw
from mlserve.registry.store import Store, open_store
from mlserve.registry.versions import archive, set_tags
from tests.registry.making import NOON, add_version, add_versions, at, move

PRODUCTION = Stage.PRODUCTION


def report(store: Store, instance: str = "a", minutes: float = 0, **loads: int) -> None:
    loaded = {(name, PRODUCTION): generation for name, generation in loads.items()}
    report_instance(store, instance, host="box", pid=7, started_at=NOON, now=at(minutes), loaded=loaded, status="ready")


def behind(store: Store, generation: int = 1, minutes: float = 0) -> list[str]:
    return [item.instance_id for item in lagging(store, "fraud", PRODUCTION, generation, at(minutes))]


def test_every_change_adds_one_to_the_epoch(store: Store, artefacts: ArtefactStore) -> None:
    seen = [epoch(store)]
    for change in (
        lambda: add_versions(store, artefacts, 1),
        lambda: add_version(store, artefacts),
        lambda: move(store, "fraud:1"),
        lambda: move(store, "fraud:2"),
        lambda: rollback(store, "fraud", by="ann", now=NOON),
        lambda: withdraw(store, "fraud", PRODUCTION, by="ann", now=NOON),
        lambda: set_tags(store, parse_ref("fraud:1"), {"a": "b"}),
        lambda: archive(store, parse_ref("fraud:1")),
    ):
        change()
        seen.append(epoch(store))

    assert seen == list(range(seen[0], seen[0] + 9))


def test_placements_hold_all_that_a_server_needs(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts, golden=b"rows")
    add_version(store, artefacts, "churn", b"two")
    move(store, "fraud:1")
    move(store, "churn:1", Stage.CHALLENGER, traffic=0.2)

    churn, fraud = placements(store)

    assert (churn.name, churn.stage, churn.traffic) == ("churn", Stage.CHALLENGER, 0.2)
    assert (fraud.version, fraud.generation, fraud.digest) == (1, 1, digest_bytes(b"one"))
    assert fraud.golden == digest_bytes(b"rows")
    assert artefacts.open_local(fraud.manifest).read_bytes() == b"one"
    assert [place.name for place in placements(store, ["fraud", "unknown"])] == ["fraud"]
    assert placements(store, []) == []


def test_a_server_that_reported_is_live_until_it_falls_silent(store: Store) -> None:
    report(store, fraud=1)

    (instance,) = live_instances(store, at(0))
    assert instance.to_dict() == {
        "instance_id": "a",
        "host": "box",
        "pid": 7,
        "status": "ready",
        "started_at": "2026-03-01T12:00:00Z",
        "heartbeat_at": "2026-03-01T12:00:00Z",
        "loaded": [{"name": "fraud", "stage": "production", "generation": 1}],
        "failures": [],
    }
    assert live_instances(store, at(1)) == []
    assert [item.instance_id for item in live_instances(store, at(1), ttl_s=60)] == ["a"]


def test_a_report_replaces_the_last_one(store: Store) -> None:
    report(store, fraud=1)
    report(store, churn=2, minutes=1)
    report(store, churn=2, minutes=2)

    (instance,) = live_instances(store, at(2))
    assert instance.loaded == {("churn", "production"): 2}
    report(store, minutes=3)
    assert live_instances(store, at(3))[0].loaded == {}


def test_a_heartbeat_does_not_add_to_the_epoch(store: Store) -> None:
    before = epoch(store)

    report(store, fraud=1)

    assert epoch(store) == before


@pytest.mark.parametrize(
    ("loads", "is_behind"),
    [
        pytest.param({"fraud": 0}, True, id="nothing loaded yet"),
        pytest.param({"fraud": 1}, True, id="an older generation"),
        pytest.param({"fraud": 2}, False, id="the generation"),
        pytest.param({"fraud": 3}, False, id="a newer one"),
        pytest.param({"churn": 1}, False, id="follows another model"),
        pytest.param({EVERY_MODEL: 0}, True, id="follows every model"),
        pytest.param({EVERY_MODEL: 0, "fraud": 2}, False, id="follows every model and has it"),
    ],
)
def test_a_server_lags_until_it_has_the_generation(store: Store, loads: Mapping[str, int], is_behind: bool) -> None:
    report(store, **loads)

    assert behind(store, generation=2) == (["a"] if is_behind else [])
    assert behind(store, generation=2, minutes=1) == []


def test_a_server_that_ends_is_waited_for_no_more(store: Store) -> None:
    report(store, fraud=0)
    report(store, "b", fraud=0)

    forget_instance(store, "a")

    assert behind(store) == ["b"]


def test_servers_long_silent_are_forgotten_when_a_new_one_comes(store: Store) -> None:
    report(store, fraud=0)
    report(store, "b", minutes=60 * 25, fraud=0)

    assert [item.instance_id for item in live_instances(store, at(60 * 25), ttl_s=1e6)] == ["b"]


def test_what_a_server_cannot_load_is_told_until_it_can(store: Store) -> None:
    def say(minutes: float, failures: Mapping[tuple[str, int], str]) -> None:
        report_instance(store, "a", host="box", pid=7, started_at=NOON, now=at(minutes), loaded={}, failures=failures)

    say(0, {("fraud", 2): "opset 99 is not known", ("churn", 1): "damaged"})
    (instance,) = live_instances(store, at(0))
    assert instance.failures == {("fraud", 2): "opset 99 is not known", ("churn", 1): "damaged"}
    assert {"name": "fraud", "version": 2, "reason": "opset 99 is not known"} in instance.to_dict()["failures"]

    say(1, {("fraud", 2): "it takes too long"})
    assert live_instances(store, at(1))[0].failures == {("fraud", 2): "it takes too long"}
    say(2, {})
    assert live_instances(store, at(2))[0].failures == {}
    say(3, {("fraud", 2): "x"})
    forget_instance(store, "a")
    report(store, minutes=3)
    assert live_instances(store, at(3))[0].failures == {}


def test_a_registry_whose_file_was_taken_away_is_out_of_reach(tmp_path: Path, artefacts: ArtefactStore) -> None:
    path, away = tmp_path / "registry.db", tmp_path / "away.db"
    upgrade(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    before = epoch(store)

    path.rename(away)
    with pytest.raises(Unavailable, match="its file is gone"):
        epoch(store)

    away.rename(path)
    assert epoch(store) == before
    store.close()


def test_another_registry_under_the_same_name_is_opened_anew(tmp_path: Path, artefacts: ArtefactStore) -> None:
    path = tmp_path / "registry.db"
    upgrade(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    add_version(store, artefacts)
    assert epoch(store) > 0
    copy = backup(f"sqlite:///{path}", tmp_path / "copy.db")
    add_version(store, artefacts, content=b"two")
    newer = epoch(store)

    # As a backup is restored: without the old one's log, which SQLite would take for the new one's.
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink()
    copy.rename(path)

    assert epoch(store) == newer - 1
    store.close()
