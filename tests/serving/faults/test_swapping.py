"""Versions that come and go, good and bad, while clients keep asking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any
from urllib.request import urlopen

import numpy as np

from mlserve.runtime.golden import make_golden
from mlserve.runtime.model import load_model
from tests import models
from tests.processes import MLSERVE
from tests.serving.faults.conftest import PATIENCE_S, Registry
from tests.serving.faults.traffic import ROW, Traffic


def test_no_request_fails_however_often_versions_are_swapped(registry: Registry, in_full: bool) -> None:
    swaps = 200 if in_full else 20

    with registry.serving() as server:
        with Traffic(server.url, "fraud", registry.versions) as traffic:
            for number in range(swaps):
                registry.until_swapped(registry.promote("21"[number % 2]))
                traffic.until(3, "21"[number % 2])
        assert server.end() == 0

    assert traffic.counted.failures == []
    assert [event["version"] for event in server.events if event["event"] == "swapped"] == [1, *[2, 1] * (swaps // 2)]


def test_a_corrupt_version_is_never_served_and_the_index_says_why(registry: Registry) -> None:
    blob = registry.blob_of("2")
    content = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with registry.serving() as server, Traffic(server.url, "fraud", registry.versions) as traffic:
        registry.promote("2")
        failed = server.until("failed", version=2)
        lines = {line["version"]: line for line in server.index()}
        traffic.until(50, "1")
        counted = traffic.end()

    assert counted.failures == []
    assert set(counted.right) == {"1"}
    assert failed["reason"]
    assert lines["1"]["state"] == "READY"
    assert lines["2"]["reason"] == failed["reason"]
    assert str(registry.artefacts) not in failed["reason"]


def test_a_version_that_gives_other_answers_than_when_it_was_registered_is_never_served(registry: Registry) -> None:
    another = load_model(models.classifier(seed=4).SerializeToString(), device="cpu")
    version = registry.add(models.classifier(seed=3), golden=make_golden(another, {"x": np.array([ROW], np.float32)}))

    with registry.serving() as server, Traffic(server.url, "fraud", registry.versions) as traffic:
        registry.promote(version)
        failed = server.until("failed", version=int(version))
        lines = {line["version"]: line for line in server.index()}
        shown = said_by_show(registry, f"fraud:{version}", until="load_failures")
        with urlopen(f"{server.url}/metrics", timeout=30) as response:
            metrics = response.read().decode()
        traffic.until(50, "1")
        counted = traffic.end()

    assert counted.failures == []
    assert set(counted.right) == {"1"}
    assert "golden rows" in failed["reason"]
    assert lines[version] == {
        "name": "fraud",
        "version": version,
        "state": "UNAVAILABLE",
        "reason": failed["reason"],
    }
    assert [one["reason"] for one in shown["load_failures"]] == [failed["reason"]]
    assert 'mlserve_model_load_failures_total{model="fraud"} 1.0' in metrics.splitlines()


def said_by_show(registry: Registry, ref: str, *, until: str) -> dict[str, Any]:
    """What ``mlserve show`` says of ``ref`` once it has something to say under ``until``."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        command = [*MLSERVE, "show", ref, "--json"]
        done = subprocess.run(command, env={**os.environ, **registry.env}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        if document[until]:
            return document
    raise AssertionError(f"show says nothing of {until}")


def test_a_server_that_is_told_to_end_answers_all_that_was_asked(registry: Registry) -> None:
    with registry.serving() as server, Traffic(server.url, "fraud", registry.versions) as traffic:
        traffic.until(200)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
        counted = traffic.end()

    assert code == 0
    refused = [failure for failure in counted.failures if failure != "lost: ConnectionRefusedError"]
    assert refused == [], "only those may fail that asked when nobody was there any more"
