"""A whole server in this process: real sockets, real signals, real registry."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from msgspec.structs import replace

from mlserve.core.assignment import arm_of
from mlserve.core.refs import Stage
from mlserve.core.settings import ServeSettings
from mlserve.errors import Conflict, InvalidConfig, InvalidInput, NotFound, Unavailable, UsageError
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import live_instances
from mlserve.registry.migrating import upgrade
from mlserve.registry.promoting import withdraw
from mlserve.registry.store import Store, open_store
from mlserve.serving.parts import Targets
from mlserve.serving.registry import Identity, RegistryUpstream
from mlserve.serving.server import serve
from tests import models
from tests.registry.making import NOON, add_version, move

ANY_PORT = ServeSettings(port=0, grpc_port="off", poll_s=0.01, drain_s=5.0, warmup_s=2.0)
ROW = [0.5, -1.0, 2.0, 0.25]


class Client:
    """A keep-alive client that asserts nothing but that the server answers."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def get(self, path: str) -> int:
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        response.read()
        return response.status

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        self.connection.request("POST", path, json.dumps(body) if body is not None else "")
        response = self.connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None

    def infer(self, model: str, values: list[float] = ROW, **headers: str) -> tuple[int, dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"inputs": [{"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": values}]}
        self.connection.request("POST", f"/v2/models/{model}/infer", json.dumps(body), named)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


class Story:
    """Runs a server on this thread, and what a client does on another, from "ready" until it returns."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self._changed = threading.Condition()
        self._told: Callable[[Client], None] | None = None

    def run(self, targets: Targets, told: Callable[[Client], None], settings: ServeSettings = ANY_PORT,
            ending: signal.Signals = signal.SIGTERM) -> signal.Signals:  # fmt: skip
        self._told, self._ending = told, ending
        ended = serve(targets, settings, self.emit)
        if self.failure is not None:
            raise self.failure
        return ended

    def emit(self, event: dict[str, Any]) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        if event["event"] == "ready":
            threading.Thread(target=self._tell, args=(event["http"],)).start()

    def until(self, **wanted: Any) -> None:
        """Until such an event was told."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(wanted.items() <= event.items() for event in self.events), 60.0)

    def _tell(self, url: str) -> None:
        try:
            assert self._told is not None
            client = Client(url)
            self._told(client)
            client.connection.close()
        except BaseException as error:
            self.failure = error
        finally:
            os.kill(os.getpid(), self._ending)


def saved(tmp_path: Path, name: str = "iris.onnx", seed: int = 0) -> Path:
    return models.saved(models.classifier(seed=seed), tmp_path / name)


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
    return RegistryUpstream(store, artefacts, Identity("i1", "host", os.getpid(), NOON), lambda: NOON)


def test_files_are_served_under_their_stems_and_sigterm_ends_it(tmp_path: Path) -> None:
    story = Story()
    switch_interval_s = sys.getswitchinterval()

    def told(client: Client) -> None:
        status, answer = client.infer("iris")
        assert (status, answer["model_version"]) == (200, "1")
        assert np.isclose(sum(answer["outputs"][0]["data"]), 1.0)
        assert client.get("/v2/health/ready") == client.get("/v2/health/live") == 200
        assert client.infer("other")[0] == 200
        assert client.infer("nobody")[0] == 404

    ended = story.run(Targets(files=(saved(tmp_path), saved(tmp_path, "other.onnx"))), told)

    assert ended is signal.SIGTERM
    ready = story.events[0]
    assert ready["event"] == "ready"
    assert ready["http"].startswith("http://127.0.0.1:")
    assert ready["grpc"] is None
    assert (ready["models"], ready["refs"]) == (["iris", "other"], ["iris:1", "other:1"])
    assert story.events[-1] == {"event": "draining", "signal": "SIGTERM"}
    assert sys.getswitchinterval() == switch_interval_s


def test_interrupting_ends_it_too_and_is_told_apart(tmp_path: Path) -> None:
    assert Story().run(Targets(files=(saved(tmp_path),)), lambda client: None, ending=signal.SIGINT) is signal.SIGINT


def test_a_second_signal_ends_the_drain_at_once(tmp_path: Path) -> None:
    story = Story()
    patient = ServeSettings(port=0, grpc_port="off", drain_s=3600.0, body_timeout_s=3600.0)
    sockets: list[socket.socket] = []

    def hurry() -> None:
        story.until(event="draining")
        os.kill(os.getpid(), signal.SIGTERM)

    def told(client: Client) -> None:
        sockets.append(socket.create_connection((client.connection.host, client.connection.port)))
        sockets[0].sendall(b"POST /v2/models/iris/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert client.get("/v2/health/live") == 200
        threading.Thread(target=hurry).start()

    story.run(Targets(files=(saved(tmp_path),)), told, patient)

    assert sockets[0].recv(100) in (b"",)
    sockets[0].close()


def test_a_promotion_swaps_while_a_client_keeps_asking(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    for seed in (1, 2):
        add_version(store, artefacts, "fraud", models.classifier(seed=seed).SerializeToString())
    move(store, "fraud:1")
    story = Story()

    def told(client: Client) -> None:
        versions: list[str] = []

        def ask(until: str) -> None:
            while not versions or versions[-1] != until:
                status, answer = client.infer("fraud")
                assert status == 200
                versions.append(answer["model_version"])

        ask("1")
        move(store, "fraud:2")
        ask("2")
        move(store, "fraud:1")
        ask("1")
        assert [version for version, last in zip(versions, ["", *versions], strict=False) if version != last] == list(
            "121"
        )
        assert live_instances(store, NOON)

    story.run(Targets(names=("fraud",), upstream=upstream), told)

    assert story.events[0]["refs"] == ["fraud:1"]
    assert [event["version"] for event in story.events if event["event"] == "swapped"] == [1, 2, 1]
    assert live_instances(store, NOON) == []


def test_without_a_version_in_production_it_starts_is_not_ready_and_waits(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    add_version(store, artefacts, "fraud", models.classifier().SerializeToString())
    story = Story()

    def told(client: Client) -> None:
        assert client.get("/v2/health/live") == 200
        assert client.get("/v2/health/ready") != 200
        assert client.infer("fraud")[0] == 503
        move(store, "fraud:1")
        story.until(event="swapped", version=1)
        assert client.get("/v2/health/ready") == 200
        assert client.infer("fraud")[0] == 200

    story.run(Targets(names=("fraud",), upstream=upstream), told)

    assert story.events[0]["models"] == []


def test_a_promotion_of_a_broken_version_changes_nothing(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    add_version(store, artefacts, "fraud", models.classifier().SerializeToString())
    add_version(store, artefacts, "fraud", b"no model at all")
    move(store, "fraud:1")
    story = Story()

    def told(client: Client) -> None:
        move(store, "fraud:2")
        story.until(event="failed", version=2)
        while not live_instances(store, NOON)[0].failures:
            pass
        (failure,) = live_instances(store, NOON)[0].failures.items()
        assert failure[0] == ("fraud", 2)
        assert client.infer("fraud")[1]["model_version"] == "1"
        assert client.get("/v2/health/ready") == 200

    story.run(Targets(names=("fraud",), upstream=upstream), told)


def test_a_challenger_answers_its_share_by_unit_key_and_can_be_named(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    for seed in (1, 2):
        add_version(store, artefacts, "fraud", models.classifier(seed=seed).SerializeToString())
    move(store, "fraud:1")
    move(store, "fraud:2", Stage.CHALLENGER, traffic=0.4)
    keys = [f"user-{number}" for number in range(20)]
    story = Story()

    def told(client: Client) -> None:
        for key in keys:
            status, answer = client.infer("fraud", mlserve_unit_key=key)
            assert (status, answer["model_version"]) == (200, str(1 + arm_of(key, "fraud:2", [0.4])))
        assert client.infer("fraud@challenger")[1]["model_version"] == "2"
        assert client.infer("fraud%40production")[1]["model_version"] == "1"
        assert client.infer("fraud@shadow")[0] == 404
        assert client.get("/v2/models/fraud@challenger") == 200
        withdraw(store, "fraud", Stage.CHALLENGER, by="ann", now=NOON)
        story.until(event="unloaded", version=2)
        assert {client.infer("fraud", mlserve_unit_key=key)[1]["model_version"] for key in keys} == {"1"}

    story.run(Targets(names=("fraud",), upstream=upstream), told)


def test_versions_are_loaded_and_models_unloaded_on_demand(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    for seed in (1, 2):
        add_version(store, artefacts, "fraud", models.classifier(seed=seed).SerializeToString())
    move(store, "fraud:1")
    story = Story()

    def told(client: Client) -> None:
        assert client.infer("fraud/versions/2")[0] == 404
        load = {"parameters": {"config": json.dumps({"version_policy": {"specific": {"versions": [2]}}})}}
        assert client.post("/v2/repository/models/fraud/load", load)[0] == 200
        assert client.infer("fraud/versions/2")[1]["model_version"] == "2"
        assert client.post("/v2/repository/models/fraud/unload")[0] == 200
        assert client.infer("fraud")[0] == 503
        states = [(line["version"], line["state"], line["reason"]) for line in client.post("/v2/repository/index")[1]]
        assert states == [("1", "UNAVAILABLE", "unloaded"), ("2", "UNAVAILABLE", "unloaded")]
        assert client.post("/v2/repository/models/fraud/load")[0] == 200
        assert client.infer("fraud")[1]["model_version"] == "1"

    story.run(Targets(names=("fraud",), upstream=upstream), told)


def test_a_newer_version_that_does_not_load_on_demand_leaves_the_old_and_shows_everywhere(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    add_version(store, artefacts, "fraud", models.classifier().SerializeToString())
    add_version(store, artefacts, "fraud", b"no model")
    move(store, "fraud:1")
    story = Story()

    def told(client: Client) -> None:
        status, said = client.post("/v2/repository/models/fraud/load", {"versions": [2]})
        assert (status, "fraud:2 cannot be loaded" in said["error"]) == (400, True), said
        assert client.infer("fraud")[1]["model_version"] == "1"
        assert client.get("/v2/health/ready") == 200
        assert client.infer("fraud/versions/2")[0] == 503
        states = [(line["version"], line["state"], line["reason"]) for line in client.post("/v2/repository/index")[1]]
        assert states == [("1", "READY", ""), ("2", "UNAVAILABLE", said["error"])]
        client.connection.request("GET", "/metrics")
        counted = client.connection.getresponse().read()
        assert b'mlserve_model_load_failures_total{model="fraud"} 1' in counted
        while not live_instances(store, NOON)[0].failures:
            pass
        # What `mlserve show` tells.
        assert live_instances(store, NOON)[0].failures == {("fraud", 2): said["error"]}

    story.run(Targets(names=("fraud",), upstream=upstream), told)

    assert [event["version"] for event in story.events if event["event"] == "failed"] == [2]


def test_a_file_that_has_changed_is_read_again_on_demand(tmp_path: Path) -> None:
    file = saved(tmp_path, seed=1)
    story = Story()

    def told(client: Client) -> None:
        before = client.infer("iris")[1]["outputs"]
        saved(tmp_path, seed=2)
        assert client.infer("iris")[1]["outputs"] == before
        assert client.post("/v2/repository/models/iris/load")[0] == 200
        assert client.infer("iris")[1]["outputs"] != before
        file.write_bytes(b"no model")
        status, reply = client.post("/v2/repository/models/iris/load")
        assert (status, str(tmp_path) in str(reply)) == (400, False)
        assert client.infer("iris")[0] == 200
        (line,) = client.post("/v2/repository/index")[1]
        assert (line["state"], line["reason"]) == (
            "READY",
            f"not loaded again, the one before goes on: {reply['error']}",
        )

    story.run(Targets(files=(file,)), told)


def test_requests_are_logged_and_traced_where_that_is_asked_for(tmp_path: Path) -> None:
    posted: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    def told(client: Client) -> None:
        for _ in range(5):
            assert client.infer("iris", mlserve_request_id="a")[0] == 200
        assert client.get("/metrics") == 200

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        settings = replace(
            ANY_PORT,
            access_log="all",
            access_log_file=str(tmp_path / "access.jsonl"),
            traces=f"http://127.0.0.1:{collector.server_port}",
            trace_share=1.0,
        )
        Story().run(Targets(files=(saved(tmp_path),)), told, settings)
        collector.shutdown()

    lines = [json.loads(line) for line in (tmp_path / "access.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["action"], line["status"]) for line in lines] == [("infer", 200)] * 5 + [("metrics", 200)]
    assert lines[0]["id"] == "a"
    assert lines[0]["batch_rows"] == 1
    assert {path for path, _ in posted} == {"/v1/traces"}
    assert any(b"infer iris" in body and b"compute" in body for _, body in posted)


def test_a_file_that_cannot_be_loaded_ends_the_start_and_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")

    with pytest.raises(InvalidInput, match=r"bad\.onnx' cannot be loaded"):
        serve(Targets(files=(saved(tmp_path), bad)), ANY_PORT, print)
    with pytest.raises(NotFound, match=r"none\.onnx"):
        serve(Targets(files=(tmp_path / "none.onnx",)), ANY_PORT, print)


def test_a_broken_version_in_production_or_an_unknown_model_ends_the_start(
    store: Store, artefacts: ArtefactStore, upstream: RegistryUpstream
) -> None:
    add_version(store, artefacts, "fraud", b"no model at all")
    move(store, "fraud:1")

    with pytest.raises(InvalidInput, match="fraud:1 cannot be loaded: Protobuf parsing failed"):
        serve(Targets(names=("fraud",), upstream=upstream), ANY_PORT, print)
    with pytest.raises(NotFound, match="fruad"):
        serve(Targets(names=("fruad",), upstream=upstream), ANY_PORT, print)


def test_an_address_that_is_taken_is_unavailable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="cannot listen"):
        serve(Targets(files=(saved(tmp_path),)), ServeSettings(port=taken.getsockname()[1]), print)


def test_a_signal_while_it_loads_ends_it_without_a_word(store: Store, upstream: RegistryUpstream) -> None:
    class Slow:
        """A registry that answers after the signal only."""

        def __getattr__(self, name: str) -> Any:
            return getattr(upstream, name)

        def epoch(self) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            release.wait(60.0)
            return 1

    release, seen = threading.Event(), []

    ended = serve(Targets(names=("fraud",), upstream=Slow()), ANY_PORT, seen.append)  # type: ignore[arg-type]
    release.set()

    assert ended is signal.SIGTERM
    assert seen == []


@pytest.mark.parametrize(
    ("files", "names", "settings", "error"),
    [
        pytest.param((), (), ANY_PORT, UsageError, id="nothing"),
        pytest.param(("a/m.onnx", "b/m.onnx"), (), ANY_PORT, Conflict, id="two files of one stem"),
        pytest.param(("m.onnx",), ("m",), ANY_PORT, Conflict, id="a file called as a model"),
        pytest.param(("naïve model.onnx",), (), ANY_PORT, UsageError, id="a stem that is no name"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_starts(
    files: tuple[str, ...], names: tuple[str, ...], settings: ServeSettings, error: type[Exception]
) -> None:
    with pytest.raises(error):
        serve(Targets(tuple(map(Path, files)), names), settings, print)


def test_an_objective_that_is_none_is_refused_before_anything_is_bound() -> None:
    with pytest.raises(InvalidConfig, match=r"^serve.slo: 'p99' is not a percentile and a time$"):
        serve(Targets(files=(Path("m.onnx"),)), ServeSettings(slo="p99"), lambda event: None)
