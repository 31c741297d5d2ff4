"""Several workers that answer as one: what is counted, listed, loaded and unloaded, whichever of them is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import tritonclient.grpc as triton

from mlserve.runtime.golden import make_golden
from mlserve.runtime.model import load_model
from tests import models
from tests.serving.faults.conftest import PATIENCE_S, Registry, Server, serving
from tests.serving.faults.traffic import BODY, ROW, Traffic

MANY = 24
"""Connections, which the kernel deals out by chance: that all go to one of two workers is one in eight million."""

WITH_GRPC = {"MLSERVE_SERVE__GRPC_PORT": "0"}


def ask(server: Server, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document, over a connection of its own."""
    data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{server.url}/v2/{path}", data), timeout=PATIENCE_S) as response:
            return response.status, json.loads(response.read() or b"null")
    except HTTPError as error:
        return error.code, json.loads(error.read())


def statuses(server: Server, path: str) -> set[int]:
    """What many new connections are answered to an inference."""
    return {ask(server, path, BODY)[0] for _ in range(MANY)}


def answered(server: Server) -> int:
    (one,) = ask(server, "models/fraud/stats")[1]["model_stats"]
    return int(one["inference_stats"]["success"]["count"])


def states(server: Server) -> dict[str, tuple[str, str]]:
    return {line["version"]: (line["state"], line["reason"]) for line in server.index()}


def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_statistics_are_those_of_all_workers_and_never_go_back(registry: Registry) -> None:
    with registry.serving("--workers", "2", env=WITH_GRPC) as server:
        with Traffic(server.url, "fraud", registry.versions, is_kept_alive=False) as traffic:
            traffic.until(200)
        total = traffic.counted.total
        told = [answered(server) for _ in range(MANY)]
        assert told == [total] * MANY, "whichever worker is asked"
        with triton.InferenceServerClient(server.until("ready")["grpc"]) as client:
            statistics = client.get_inference_statistics("fraud", as_json=True)["model_stats"][0]
        assert int(statistics["inference_stats"]["success"]["count"]) == total

        os.kill(server.until("ready")["workers"][0], signal.SIGKILL)
        server.until("worker_started")
        assert answered(server) == total
        server.process.send_signal(signal.SIGHUP)
        server.until("restarted")
        assert answered(server) == total
        assert server.end() == 0


def test_what_is_loaded_and_unloaded_is_so_in_every_worker_and_its_successors(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server:
        assert ask(server, "repository/models/fraud/load", {"versions": [2]}) == (200, None)
        assert statuses(server, "models/fraud/versions/2/infer") == {200}
        assert states(server) == {"1": ("READY", ""), "2": ("READY", "")}

        os.kill(server.until("ready")["workers"][1], signal.SIGKILL)
        server.until("worker_started")
        assert statuses(server, "models/fraud/versions/2/infer") == {200}

        assert ask(server, "repository/models/fraud/unload", {}) == (200, None)
        assert statuses(server, "models/fraud/infer") == {503}
        assert states(server) == {"1": ("UNAVAILABLE", "unloaded"), "2": ("UNAVAILABLE", "unloaded")}
        server.process.send_signal(signal.SIGHUP)
        server.until("restarted")
        assert statuses(server, "models/fraud/infer") == {503}

        assert ask(server, "repository/models/fraud/load", {}) == (200, None)
        assert statuses(server, "models/fraud/infer") == {200}
        assert server.end() == 0


def test_a_load_that_fails_says_so_and_one_that_a_worker_cannot_do_is_not_ready(registry: Registry) -> None:
    another = load_model(models.classifier(seed=4).SerializeToString(), device="cpu")
    broken = registry.add(models.classifier(seed=3), golden=make_golden(another, {"x": np.array([ROW], np.float32)}))

    with registry.serving("--workers", "2") as server:
        code, document = ask(server, "repository/models/fraud/load", {"versions": [int(broken)]})
        assert (code, "golden rows" in document["error"]) == (400, True)
        found = states(server)
        assert found["1"] == ("READY", "")
        assert found[broken] == ("UNAVAILABLE", document["error"])

        stopped = server.until("ready")["workers"][0]
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: states_where_answered(server).get("1") == ("UNAVAILABLE", f"worker {stopped} does not answer"))
        os.kill(stopped, signal.SIGCONT)
        until(lambda: states(server)["1"] == ("READY", ""))
        assert server.end() == 0


def states_where_answered(server: Server) -> dict[str, tuple[str, str]]:
    """The index, unless the kernel gives the client to a worker that is stopped."""
    try:
        with urlopen(Request(f"{server.url}/v2/repository/index", b"", method="POST"), timeout=3) as response:
            return {line["version"]: (line["state"], line["reason"]) for line in json.load(response)}
    except TimeoutError:
        return {}


def test_workers_that_crash_again_and_again_are_seen_and_the_last_one_ends_it_with_the_reason(
    registry: Registry,
) -> None:
    file = registry.artefacts / "fraud.onnx"
    file.write_bytes(registry.versions["1"].SerializeToString())

    with serving(str(file), "--workers", "2") as server:
        file.write_bytes(b"no model any more")
        first, second = server.until("ready")["workers"]
        os.kill(first, signal.SIGKILL)
        failed = server.until("worker_failed", crashes=3)
        with urlopen(f"{server.url}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        assert statuses(server, "models/fraud/infer") == {200}, "the other worker answers the clients of both"
        os.kill(second, signal.SIGKILL)
        code = server.process.wait(PATIENCE_S)

    assert "fraud.onnx" in failed["reason"]
    assert 'mlserve_worker_restarts_total{worker="0"} 2.0' in lines
    assert 'mlserve_worker_ready{worker="0"} 0.0' in lines
    assert 'mlserve_worker_ready{worker="1"} 1.0' in lines
    assert code == 9
