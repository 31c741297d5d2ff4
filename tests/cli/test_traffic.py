"""A server captures what it is asked, and the captures are looked into, used as data, compacted and erased."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from mlserve.rows.capture_file import files_of
from mlserve.traffic.recorded import Source
from mlserve.traffic.surveying import requests_of
from tests import models
from tests.cli.conftest import Run
from tests.processes import MLSERVE, listening
from tests.traffic.making import SOURCE, captured, recorded

ROWS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.saved(models.classifier(), tmp_path / "m.onnx")


def asked(url: str, rows: Any, **headers: str) -> tuple[str, dict[str, Any]]:
    """The request's id and the answer."""
    array = np.asarray(rows, np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(f"{url}/v2/models/m/infer", body, named), timeout=30) as reply:
        return reply.headers["mlserve-request-id"], json.load(reply)


def test_what_was_asked_over_every_protocol_is_there_under_its_id(model: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "capture"
    words = [str(model), "--grpc-port", "0", "--capture", str(folder)]
    with listening(MLSERVE, tmp_path, *words) as ready:
        given = dict([asked(ready["http"], ROWS[:2]), asked(ready["http"], ROWS[2:3], mlserve_request_id="mine")])
        with urlopen(
            Request(f"{ready['http']}/v1/models/m:predict", json.dumps({"instances": ROWS[3:5].tolist()}).encode())
        ) as reply:
            v1 = reply.headers["mlserve-request-id"]
        client = grpcclient.InferenceServerClient(ready["grpc"])
        tensor = grpcclient.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(ROWS[5:6])
        client.infer("m", [tensor], request_id="over-grpc", headers={"mlserve-unit-key": "ann"})
        client.close()
        time.sleep(1.0)  # what the contract promises: on disk within a second

        found = {one["request_id"]: one for one in requests_of(folder)}

    assert found.keys() == {*given, v1, "over-grpc"}
    assert "mine" in found
    for name, answer in given.items():
        captured_values = np.array(found[name]["outputs"]["probabilities"], np.float32).ravel()
        assert captured_values.tolist() == np.array(answer["outputs"][0]["data"], np.float32).tolist()
    assert np.array(found[v1]["inputs"]["x"], np.float32).tolist() == ROWS[3:5].tolist()
    assert found["over-grpc"]["unit_key_hash"] is not None
    assert [path.suffix for path in files_of(folder)] == [".mlcap"]

    (line,) = run("traffic", "list", folder, "--json").document
    assert (line["model"], line["version"], line["requests"], line["rows"]) == ("m", 1, 4, 6)
    assert line["window"]["start"] <= line["window"]["end"]
    assert run("predict", model, folder, "--json").document["probabilities"][0] == pytest.approx(
        given[next(iter(given))]["outputs"][0]["data"][:3], rel=1e-6
    )


def test_a_killed_server_loses_a_second_at_most(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    server = subprocess.Popen(
        [*MLSERVE, "serve", str(model), "--port", "0", "--json", "--capture", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    with server:
        url = json.loads(server.stdout.readline())["http"]
        early = [asked(url, ROWS[n : n + 1])[0] for n in range(20)]
        time.sleep(1.0)
        asked(url, ROWS[:1])
        server.send_signal(signal.SIGKILL)

    found = [one["request_id"] for one in requests_of(folder)]
    assert found[:20] == early
    assert [path.name.endswith(".mlcap.open") for path in files_of(folder)] == [True]


def test_workers_write_streams_that_read_as_one(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    with listening(MLSERVE, tmp_path, str(model), "--workers", "2", "--capture", str(folder)) as ready:
        given = {asked(ready["http"], ROWS[n % 20][np.newaxis])[0] for n in range(40)}
    assert {one["request_id"] for one in requests_of(folder)} == given


def test_a_policy_and_a_share_hold_for_a_server(model: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('default = "deny"\n[outputs]\nprobabilities = { round = 2 }\n')
    folder = tmp_path / "capture"
    (tmp_path / "mlserve.toml").write_text(f'[serve]\ncapture = "{folder}"\ncapture_policy = "{policy}"\n')
    with listening(MLSERVE, tmp_path, str(model), "--config", str(tmp_path / "mlserve.toml")) as ready:
        asked(ready["http"], ROWS[:1])

    (one,) = requests_of(folder)
    assert one["inputs"] == {"x": None}
    assert all(round(value, 2) == pytest.approx(value, abs=1e-6) for value in one["outputs"]["probabilities"][0])


def test_a_full_disk_is_counted_and_nobody_waits_for_it(model: Path, tmp_path: Path) -> None:
    """Files of the server may have 64 KiB: the capture breaks, no answer does."""
    folder = tmp_path / "capture"
    limited = [sys.executable, "-c", _LIMITED, *MLSERVE]
    with listening(limited, tmp_path, str(model), "--capture", str(folder)) as ready:
        wide = np.resize(ROWS, (2000, 4))
        for _ in range(3):
            assert asked(ready["http"], wide)[1]["outputs"]
            time.sleep(0.3)
        with urlopen(f"{ready['http']}/metrics") as reply:
            text = reply.read().decode()

    (dropped,) = [line for line in text.splitlines() if line.startswith('mlserve_dropped_total{what="capture"}')]
    assert float(dropped.split()[-1]) >= 1


_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return captured(tmp_path / "capture", recorded((1, 2), unit_keys=["ba", None]), recorded((1,), start=10))


def test_cat_prints_a_line_a_request(capture: Path, run: Run) -> None:
    lines = [json.loads(line) for line in run("traffic", "cat", capture, "--limit", "2").out.splitlines()]

    assert [line["request_id"] for line in lines] == ["id-0", "id-1"]
    assert lines[1]["inputs"]["x"] == [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    assert run("traffic", "cat", capture, "--limit", "2", "--json").document == lines
    assert run("traffic", "cat", capture, "--quiet").out.split() == ["id-0", "id-1", "id-10"]


def test_stats_say_what_values_there_are(capture: Path, run: Run) -> None:
    (one,) = run("traffic", "stats", capture, "--json").document

    assert one["statuses"] == {"200": 3}
    assert one["unit_keys"] == 1
    x = next(tensor for tensor in one["tensors"] if tensor["name"] == "input.x")
    assert (x["min"], x["max"], x["values"], x["mean"]) == (0.0, 12.0, 12, pytest.approx((36 + 33) / 12))
    said = run("traffic", "stats", capture)
    assert "fraud:2" in said.out
    assert "input.x" in said.out


def test_compact_and_erase_say_what_they_did(capture: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlserve.traffic.redaction.Redaction.unit_key", lambda self, text: text)
    assert run("traffic", "compact", capture, "--json").document["segments"] == 1
    assert run("traffic", "erase", capture, "--unit", "ba", "--json").document["requests"] == 1
    assert run("traffic", "list", capture, "--json").document[0]["requests"] == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list", "nowhere"], 4),
        (["list"], 2),
        (["erase", "."], 2),
        (["compact", "file.mlcap"], 2),
        (["cat", "file.mlcap"], 0),
    ],
)
def test_what_is_no_capture_is_said(run: Run, words: Sequence[str], code: int) -> None:
    Path("file.mlcap").write_bytes(b"nothing of the kind")

    assert run("traffic", *words).code == code


def test_a_folder_of_several_models_is_no_data(capture: Path, model: Path, run: Run) -> None:
    other = recorded((1,), source=Source("other", 1, None, SOURCE.signature))
    captured(capture, other)

    done = run("predict", model, capture)

    assert done.code == 9
    assert "captures of fraud, other" in done.err
    assert os.fspath(capture / "fraud") in done.err
