"""A real server with a version in shadow: users notice nothing, whatever becomes of it, and what it showed is kept."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from mlserve.core.evidence import Evidence
from mlserve.core.refs import Stage
from mlserve.registry.evidencing import evidence_of
from mlserve.registry.promoting import withdraw
from mlserve.rows.capture_table import CaptureTable
from mlserve.traffic.outcomes import OutcomeWriter
from mlserve.traffic.surveying import requests_of
from tests import models
from tests.serving.faults.conftest import Registry, Server, made
from tests.serving.faults.traffic import BODY, Traffic
from tests.serving.shadow.serving import adds_up, is_done, shadow_of, until, until_shadow
from tests.traffic.outcome_making import entries

SMALL_RING = {"MLSERVE_SERVE__SHADOW_RING_BYTES": str(1 << 16)}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    found = made(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path)
    yield found
    found.store.close()


@contextmanager
def asked(server: Server, registry: Registry, clients: int = 4) -> Iterator[Traffic]:
    """Clients who take nothing for right but what the first version answers."""
    with Traffic(server.url, "fraud", {"1": registry.versions["1"]}, clients=clients) as traffic:
        yield traffic


def end_shadow(registry: Registry) -> None:
    withdraw(registry.store, "fraud", Stage.SHADOW, by="ann", now=datetime.now(UTC))


def evidence(registry: Registry, digest: str) -> list[Evidence]:
    return [one for one in evidence_of(registry.store, digest) if one.kind == "shadow"]


def answers(server: Server, count: int = 20) -> list[bytes]:
    """Whole replies on one connection, ids chosen so that nothing differs but what a server makes up."""
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    found = []
    for number in range(count):
        connection.request("POST", "/v2/models/fraud/infer", BODY, {"mlserve-request-id": f"r{number}"})
        response = connection.getresponse()
        heads = sorted((name, value) for name, value in response.getheaders() if name != "date")
        found.append(repr((response.status, heads)).encode() + response.read())
    connection.close()
    return found


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_registry_says_what_is_in_shadow_and_gets_what_it_showed(registry: Registry, tmp_path: Path) -> None:
    """One server, from its start without a shadow to its end with another: answers, documents, evidence, capture."""
    capture = tmp_path / "capture"
    with registry.serving(env={"MLSERVE_SERVE__CAPTURE": str(capture)}) as server:
        before = answers(server)
        assert shadow_of(server)["status"] == 404
        generation = registry.promote("2", Stage.SHADOW, traffic=1.0)
        registry.until_swapped(generation, Stage.SHADOW)

        during = answers(server)
        document = until_shadow(server, is_done)

        assert document["ref"] == "fraud:2"
        assert document["baseline"] == "fraud:1"
        assert document["state"] == "comparing"
        assert (document["mirrored"], document["compared"], document["rows"]) == (20, 20, 20)
        assert (document["identical"], document["differing"]) == (0, 20)
        assert document["latency"]["shadow"]["p50_ms"] > 0
        assert document["latency"]["champion"]["p50_ms"] > 0
        counted = 'mlserve_shadow_requests_total{model="fraud",outcome="compared",version="2"} 20.0'
        until(lambda: {"told": get(server, "/metrics")}, lambda found: counted in found["told"])

        # The truth comes, and then production in its own shadow: nothing differs.
        ids = [f"r{number}" for number in range(20)]
        OutcomeWriter(capture / "fraud", "fraud", time.time_ns).record(iter([entries(ids, [0, 1] * 10)]))
        pid = document["pid"]
        generation = registry.promote("1", Stage.SHADOW)
        registry.until_swapped(generation, Stage.SHADOW)
        until(lambda: {"gone": is_gone(pid)}, lambda found: bool(found["gone"]))
        (shown,) = evidence(registry, document["digest"])
        assert shown.figures["compared"] == 20
        assert shown.figures["rows"] == 20
        assert shown.figures["labelled_rows"] >= 20
        assert None not in (shown.figure("accuracy"), shown.figure("accuracy_before"))
        assert shown.figure("outputs.probabilities.identical") == 0
        assert shown.figure("latency.shadow.p50_ms") is not None
        assert shown.passed is None

        answers(server)
        document = until_shadow(server, lambda found: found["ref"] == "fraud:1" and is_done(found))
        assert (document["rows"], document["identical"], document["agreement"]) == (20, 20, 1.0)

        pid = document["pid"]
        end_shadow(registry)
        server.until("shadow_ended", version=1)
        after = answers(server)

        assert is_gone(pid)
        assert shadow_of(server)["status"] == 404
        assert before == during == after
        assert server.end() == 0

    # That a version agrees with itself would open every gate to it.
    assert evidence(registry, document["digest"]) == []

    rows = list(requests_of(capture / "fraud"))
    paired = [row for row in rows if row["stage"] == "shadow"]
    assert len(rows) == 120
    assert len(paired) == 40
    assert {row["request_id"] for row in paired} == {f"r{number}" for number in range(20)}
    assert all(row["inputs"] == {"x": None} and row["outputs"]["probabilities"] for row in paired)
    assert sum(len(batch["x"]) for batch in CaptureTable(capture / "fraud").batches(1000)) == 80


def get(server: Server, path: str) -> str:
    with urlopen(f"{server.url}{path}", timeout=30) as response:
        text: str = response.read().decode()
    return text


def test_users_notice_nothing_of_a_shadow_that_is_killed_or_stands_still(registry: Registry) -> None:
    registry.promote("2", Stage.SHADOW)
    with registry.serving(env=SMALL_RING) as server, asked(server, registry) as traffic:
        server.until("shadow_started")
        traffic.until(50)
        pid = until_shadow(server, lambda found: found["compared"] > 0)["pid"]

        os.kill(pid, signal.SIGSTOP)
        traffic.until(500)
        os.kill(pid, signal.SIGKILL)
        server.until("shadow_failed", retry=True)
        again = until_shadow(server, lambda found: found["state"] == "comparing" and found["starts"] == 2)
        traffic.until(50)
        counted = traffic.end()
        document = until_shadow(server, is_done)

        assert counted.failures == []
        assert again["pid"] != pid
        assert document["dropped"] > 0
        assert document["mirrored"] == counted.total
        assert adds_up(document)

        pid = document["pid"]
        server.end(signal.SIGKILL)
        until(lambda: {"gone": is_gone(pid)}, lambda found: bool(found["gone"]))


def test_users_notice_nothing_of_a_shadow_that_cannot_be_loaded_or_refuses_everything(registry: Registry) -> None:
    broken = models.classifier(seed=3)
    broken.graph.node[0].op_type = "NoSuchOperator"
    version = registry.add(broken)
    narrow = registry.add(models.echo(dims=("batch", 2)))
    registry.promote(version, Stage.SHADOW)
    with registry.serving() as server, asked(server, registry) as traffic:
        event = server.until("shadow_failed")

        assert event["retry"] is False
        assert "NoSuchOperator" in event["reason"]
        (line,) = [line for line in server.index() if line["version"] == version]
        assert line["state"] == "UNAVAILABLE"
        assert "NoSuchOperator" in line["reason"]
        document = shadow_of(server)
        assert (document["state"], document["compared"]) == ("failed", 0)

        registry.promote(narrow, Stage.SHADOW)
        server.until("shadow_started", version=int(narrow))
        traffic.until(50)
        counted = traffic.end()
        document = until_shadow(server, is_done)

        assert counted.failures == []
        assert document["compared"] == 0
        assert document["failed"] == document["mirrored"] > 0
        assert adds_up(document)
        # Requests that were under way when it began were not named yet.
        assert any(failure["request_id"] for failure in document["failures"])
        assert document["failures"][0]["error"]
        assert server.end() == 0


def test_another_champion_is_another_comparison_and_one_that_returns_goes_on(registry: Registry) -> None:
    third = registry.add(models.classifier(seed=3))
    registry.promote("2", Stage.SHADOW)
    with registry.serving() as server:
        server.until("shadow_started", baseline=1)
        answers(server)
        first = until_shadow(server, is_done)
        registry.promote(third)
        server.until("shadow_started", baseline=3)
        answers(server, 5)

        document = until_shadow(server, lambda found: found["baseline"] == "fraud:3" and is_done(found))

        assert document["rows"] == 5
        events = len(server.events)
        registry.promote("1")
        server.until("shadow_started", after=events, baseline=1)
        answers(server, 3)
        document = until_shadow(server, lambda found: found["baseline"] == "fraud:1" and found["rows"] == 23)
        assert adds_up(document)
        assert server.end() == 0
    baselines = {one.figures["baseline"]: one.figures["rows"] for one in evidence(registry, first["digest"])}
    assert baselines == {"fraud:1": 23, "fraud:3": 5}


def test_workers_tell_of_their_shadows_as_one_and_write_one_evidence(registry: Registry) -> None:
    registry.promote("2", Stage.SHADOW)
    with registry.serving("--workers", "2", env={"MLSERVE_SERVE__SHADOW_ANSWERS": "false"}) as server:
        until(lambda: {"up": _up(server)}, lambda found: found["up"] == 2.0)
        with asked(server, registry, clients=16) as traffic:
            traffic.until(200)
            counted = traffic.end()
        document = until_shadow(server, lambda found: is_done(found) and found["mirrored"] == counted.total)

        assert counted.failures == []
        assert adds_up(document)
        assert document["rows"] == counted.total
        (line,) = [line for line in server.index() if line["version"] == "2"]
        assert line["reason"] == "in shadow, and answers nobody"
        end_shadow(registry)
        until(lambda: {"up": _up(server)}, lambda found: found["up"] == 0.0)
        server.end()
    (shown,) = evidence(registry, document["digest"])
    assert shown.figures["rows"] == counted.total


def _up(server: Server) -> float:
    lines = [line for line in get(server, "/metrics").splitlines() if line.startswith("mlserve_shadow_up{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
