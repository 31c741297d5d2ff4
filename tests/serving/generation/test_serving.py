"""A checkpoint served by a real server: over HTTP and gRPC, through a crash of its process, to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints import Trained
from tests.processes import MLSERVE, listening

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def server(llama: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The folder served as it lies, under its name, by a process whose number is ``pid``."""
    folder = tmp_path_factory.mktemp("serving")
    with listening(MLSERVE, folder, str(llama.folder)) as ready:
        yield ready | {"pid": _server_of(str(llama.folder))}


def _server_of(target: str) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (entry / "stat").exists():
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and target.encode() in words:
                return int(entry.name)
    raise AssertionError("no such process")


def _children_of(pid: int) -> list[int]:
    """The processes of language models that ``pid`` started."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(word) for path in found for word in path.read_text().split()]
    return [one for one in pids if b"mlserve.runtime.generation.child" in Path(f"/proc/{one}/cmdline").read_bytes()]


def _post(url: str, document: dict[str, Any]) -> tuple[int, bytes]:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _generate(server: dict[str, Any], **document: Any) -> dict[str, Any]:
    status, body = _post(f"{server['http']}/v2/models/llama/generate", document)
    assert status == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer


def test_it_says_what_it_takes_and_what_runs_it(server: dict[str, Any]) -> None:
    with urllib.request.urlopen(f"{server['http']}/v2/models/llama", timeout=60) as reply:
        document = json.load(reply)

    assert document["platform"] == "transformers"
    assert document["inputs"] == [{"name": "text_input", "datatype": "BYTES", "shape": [-1]}]
    assert document["properties"]["batchable"] == "true"


def test_a_text_is_continued_as_parameters_say(server: dict[str, Any]) -> None:
    plain = _generate(server, text_input="Return the", max_tokens=6)
    nested = _generate(server, text_input="Return the", parameters={"max_tokens": 6, "exclude_input_in_output": False})

    assert plain["output_tokens"] <= 6
    assert plain["finish_reason"] in ("length", "stop")
    assert nested["text_output"] == "Return the" + plain["text_output"]


def test_infer_and_grpc_and_generate_give_the_same_texts(server: dict[str, Any]) -> None:
    import tritonclient.grpc as triton

    seen = _generate(server, text_input="If the", max_tokens=9, temperature=0.9, seed=4)["text_output"]
    parameters = {"max_tokens": 9, "temperature": 0.9, "seed": 4}
    tensor = {"name": "text_input", "datatype": "BYTES", "shape": [2], "data": ["If the", "A"]}
    _, body = _post(f"{server['http']}/v2/models/llama/infer", {"inputs": [tensor], "parameters": parameters})
    client = triton.InferenceServerClient(server["grpc"])
    text = triton.InferInput("text_input", [2], "BYTES")
    text.set_data_from_numpy(np.array([b"If the", b"A"], object))
    answer = client.infer("llama", [text], parameters=parameters)
    client.close()

    outputs = {one["name"]: one["data"] for one in json.loads(body)["outputs"]}
    assert outputs["text_output"][0] == seen
    assert answer.as_numpy("text_output")[0].decode() == seen
    assert answer.as_numpy("text_output")[1].decode() == outputs["text_output"][1]


def test_a_stream_has_one_event_with_the_whole_text(server: dict[str, Any]) -> None:
    whole = _generate(server, text_input="Return the", max_tokens=6)

    status, body = _post(
        f"{server['http']}/v2/models/llama/generate_stream", {"text_input": "Return the", "max_tokens": 6}
    )

    events = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    assert status == 200
    assert [json.loads(event) for event in events] == [whole]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"text_input": "a", "max_tokens": 0}, id="no tokens"),
        pytest.param({"text_input": "a", "temperature": "hot"}, id="no temperature"),
        pytest.param({"text_input": "word " * 500}, id="no room"),
        pytest.param({"max_tokens": 5}, id="no text"),
        pytest.param({"text_input": 5}, id="a number"),
    ],
)
def test_what_cannot_be_answered_is_the_clients_error(server: dict[str, Any], document: dict[str, Any]) -> None:
    assert _post(f"{server['http']}/v2/models/llama/generate", document)[0] == 400


def test_the_server_itself_has_no_torch(server: dict[str, Any]) -> None:
    (child,) = _children_of(server["pid"])

    assert "libtorch" in Path(f"/proc/{child}/maps").read_text()
    assert "libtorch" not in Path(f"/proc/{server['pid']}/maps").read_text()


def test_a_crash_of_its_process_is_a_503_and_then_it_answers_again(server: dict[str, Any]) -> None:
    before = _generate(server, text_input="Return the", max_tokens=6)
    (child,) = _children_of(server["pid"])
    url = f"{server['http']}/v2/models/llama/generate"

    os.kill(child, signal.SIGKILL)
    statuses = [_post(url, {"text_input": "Return the", "max_tokens": 6})[0]]
    while statuses[-1] == 503:
        time.sleep(0.2)
        statuses.append(_post(url, {"text_input": "Return the", "max_tokens": 6})[0])

    assert statuses[0] == 503
    assert set(statuses) == {503, 200}
    assert _generate(server, text_input="Return the", max_tokens=6) == before


def test_its_process_ends_with_the_server_however_that_ends(llama: Trained, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "mlserve", "serve", str(llama.folder), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path,
    )  # fmt: skip
    assert server.stdout is not None
    assert b"ready" in server.stdout.readline()
    (child,) = _children_of(server.pid)

    server.kill()
    server.wait()
    server.stdout.close()
    for _ in range(500):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.02)

    assert not Path(f"/proc/{child}").exists()
