"""serve, as a process: what it prints, what it follows, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tritonclient.grpc import InferenceServerClient

from tests.cli.conftest import Run
from tests.models import classifier, saved, strings
from tests.processes import MLSERVE


class Server:
    """A running ``mlserve serve``; its lines are read by a thread, so that it never waits for us."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self.ready.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def url(self) -> str:
        return str(self.events[0]["http"])

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code


@contextmanager
def server(*words: str | Path, mode: str = "--json") -> Iterator[Server]:
    command = [*MLSERVE, "serve", *(str(word) for word in words), "--port", "0", *([mode] if mode else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        running = Server(process)
        try:
            assert running.ready.wait(60), "no line came"
            yield running
        finally:
            process.kill()


def test_a_file_is_served_under_its_stem_as_version_1(run: Run, model: Path, rows: Path) -> None:
    with server(model) as served:
        first = served.events[0]
        by_url = run("predict", f"{served.url}/v2/models/fraud/versions/1", rows, "--json")
        by_server = run("predict", served.url, rows, "--json")
        assert served.end() == 0

    assert first["event"] == "ready"
    assert set(first) == {"event", "http", "grpc", "models", "refs"}
    assert (first["models"], first["refs"]) == (["fraud"], ["fraud:1"])
    assert by_url.document == by_server.document == run("predict", model, rows, "--json").document


def test_strings_go_to_a_server_and_come_back(run: Run, clean_environment: Path) -> None:
    path = saved(strings(), clean_environment / "words.onnx")
    (clean_environment / "r.json").write_text(json.dumps([{"text": ["é"]}, {"text": ["spam"]}]))

    with server(path) as served:
        over_http = run("predict", served.url, "r.json", "--json")

    assert over_http.document == run("predict", path, "r.json", "--json").document


def test_a_server_follows_promotions_and_wait_waits_for_it(run: Run, fraud: Path, rows: Path) -> None:
    run("promote", "fraud:1", "--to", "production")

    with server("fraud") as served:
        before = run("predict", served.url, rows, "--json").document
        moved = run("promote", "fraud:2", "--to", "production", "--wait", "--timeout", "60", "--json")
        after = run("predict", served.url, rows, "--json").document
        assert served.end() == 0

    assert moved.document["changed"] is True
    assert before == run("predict", "fraud:1", rows, "--json").document
    assert after == run("predict", "fraud:2", rows, "--json").document
    assert "swapped" in [event["event"] for event in served.events]


def test_waiting_for_a_server_that_does_not_swap_is_exit_8_and_the_move_stands(
    run: Run, fraud: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("promote", "fraud:1", "--to", "production")
    monkeypatch.setenv("MLSERVE_SERVE__POLL_S", "3600")

    with server("fraud"):
        done = run("promote", "fraud:2", "--to", "production", "--wait", "--timeout", "0", "--json")

    assert done.error["type"] == "DeadlineExceeded"
    assert "1 live server" in done.error["message"]
    assert run("show", "fraud", "--json").document["version"] == 2


def test_show_says_which_server_could_not_load_a_version(
    run: Run, fraud: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("promote", "fraud:1", "--to", "production")
    blob = run("show", "fraud:2", "--json").document["files"][0]["digest"].removeprefix("sha256:")
    (stored,) = [path for path in fraud.rglob("*") if path.is_file() and path.name.endswith(blob[2:])]

    with server("fraud") as served:
        stored.rename(stored.with_name("away"))
        waited = run("promote", "fraud:2", "--to", "production", "--wait", "--timeout", "5", "--json")
        shown = run("show", "fraud:2", "--json").document["load_failures"]
        said = run("show", "fraud:2").err

    assert waited.code == 8
    assert [(failure["pid"], failure["reason"].startswith("no blob")) for failure in shown] == [
        (served.process.pid, True)
    ]
    assert str(fraud) not in shown[0]["reason"]
    assert f"(process {served.process.pid}) could not load it: no blob" in said


def test_without_a_production_version_it_starts_and_waits(run: Run, fraud: Path, rows: Path) -> None:
    with server("fraud") as served:
        refused = run("predict", f"{served.url}/v2/models/fraud", rows, "--json")
        run("promote", "fraud:1", "--to", "production", "--wait", "--timeout", "60")
        answered = run("predict", f"{served.url}/v2/models/fraud", rows, "--json")

    assert served.events[0]["models"] == []
    assert refused.error["code"] == 8
    assert answered.code == 0


def test_without_a_target_every_model_is_served(run: Run, fraud: Path) -> None:
    run("promote", "fraud:2", "--to", "production")

    with server() as served:
        with urlopen(f"{served.url}/v2/health/ready", timeout=10) as response:
            assert response.status == 200
        assert served.events[0]["refs"] == ["fraud:2"]


def test_a_person_reads_sentences(model: Path) -> None:
    with server(model, mode="") as served:
        assert served.lines[0].startswith("serving fraud:1 at http://127.0.0.1:")
        assert served.end() == 0

    assert any("loaded and warm" in line for line in served.lines)
    assert served.lines[-1] == "finishing what is under way\n"


def test_quiet_prints_the_address(model: Path) -> None:
    with server(model, mode="--quiet") as served:
        assert served.end() == 0

    assert [line.startswith("http://") for line in served.lines] == [True]


def test_a_server_runs_on_when_nobody_reads_its_lines(run: Run, fraud: Path, rows: Path) -> None:
    command = [*MLSERVE, "serve", "fraud", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = json.loads(process.stdout.readline())["http"]
        process.stdout.close()
        run("promote", "fraud:1", "--to", "production", "--wait", "--timeout", "60")
        run("promote", "fraud:2", "--to", "production", "--wait", "--timeout", "60")
        answered = run("predict", url, rows)
        process.terminate()
        errors = process.stderr.read()

    assert (answered.code, process.returncode, errors) == (0, 0, "")


def test_ctrl_c_is_exit_130(model: Path) -> None:
    with server(model) as served:
        assert served.end(signal.SIGINT) == 130


def test_grpc_answers_where_the_first_line_says(model: Path) -> None:
    with server(model) as served, InferenceServerClient(served.events[0]["grpc"]) as client:
        assert client.is_model_ready("fraud")
        client.close()
        assert served.end() == 0


def test_grpc_can_be_left_out(model: Path) -> None:
    with server(model, "--grpc-port", "off") as served:
        assert served.events[0]["grpc"] is None
        assert served.end() == 0


def test_a_port_for_grpc_that_is_taken_is_exit_8(model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [*MLSERVE, "serve", str(model), "--port", "0", "--grpc-port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 8
    assert str(port) in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["broken.onnx"], 9, "broken.onnx", id="broken file"),
        pytest.param(["missing.onnx"], 4, "missing.onnx", id="no file"),
        pytest.param(["nope"], 4, "nope", id="no model"),
        pytest.param(["fraud:1"], 2, "neither a model's name nor an .onnx file", id="a version"),
        pytest.param(["fraud", "fraud.onnx"], 5, "'fraud'", id="twice"),
        pytest.param(["fraud", "--host", "192.0.2.1"], 8, "192.0.2.1", id="address of another machine"),
    ],
)
def test_a_server_that_cannot_start_says_why(run: Run, fraud: Path, words: list[str], code: int, said: str) -> None:
    (fraud / "broken.onnx").write_bytes(b"broken")
    done = subprocess.run(
        [*MLSERVE, "serve", "--port", "0", *words, "--json"], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (code, "")
    assert said in json.loads(done.stderr)["error"]["message"]


def test_without_a_target_a_model_that_comes_later_is_served_too(run: Run, project: Path, rows: Path) -> None:
    model = saved(classifier(), project / "late.onnx")

    with server() as served:
        run("register", "late", model)
        run("promote", "late:1", "--to", "production", "--wait", "--timeout", "60")
        answered = run("predict", f"{served.url}/v2/models/late", rows, "--json")

    assert served.events[0]["models"] == []
    assert answered.code == 0


def test_each_event_is_a_sentence() -> None:
    from mlserve.cli.serve import _sentence

    assert (
        _sentence({"event": "swapped", "model": "fraud", "version": 2, "previous": 1})
        == "fraud:2 answers now, which was 1"
    )
    assert _sentence({"event": "failed", "model": "f", "version": 2, "reason": "no"}) == "f:2 cannot be loaded: no"
    assert _sentence({"event": "withdrawn", "model": "f"}) == "f has no version in production any more"
    assert "out of reach: gone" in _sentence({"event": "registry_lost", "reason": "gone"})
    assert "in reach" in _sentence({"event": "registry_found"})
    assert _sentence({"event": "new", "n": 1}) == "event new, n 1"
