"""keys: made, listed and taken back, and taken by a server with several workers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.conftest import Run
from tests.cli.test_serve import server
from tests.processes import MLSERVE


def test_a_key_is_shown_once_and_listed_by_name(run: Run, clean_environment: Path) -> None:
    made = run("keys", "add", "billing", "--scope", "infer,metrics", "--file", "keys.txt", "--json").document
    quiet = run("keys", "add", "ops", "--scope", "manage", "--file", "keys.txt", "--quiet")
    listed = run("keys", "list", "--file", "keys.txt", "--json")

    assert (made["name"], made["scopes"]) == ("billing", ["infer", "metrics"])
    assert quiet.out.strip().startswith("mlserve_")
    assert listed.document == [
        {"name": "billing", "scopes": ["infer", "metrics"]},
        {"name": "ops", "scopes": ["manage"]},
    ]
    kept = (clean_environment / "keys.txt").read_text()
    assert made["key"] not in kept + listed.out
    assert quiet.out.strip() not in kept


def test_a_key_can_be_taken_back_once(run: Run) -> None:
    run("keys", "add", "billing", "--file", "keys.txt")

    assert run("keys", "add", "billing", "--file", "keys.txt").code == 5
    assert run("keys", "remove", "billing", "--file", "keys.txt").code == 0
    assert run("keys", "remove", "billing", "--file", "keys.txt").code == 4
    assert run("keys", "list", "--file", "keys.txt", "--json").document == []


def test_without_a_file_the_setting_says_where(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("keys", "list").code == 2
    monkeypatch.setenv("MLSERVE_SERVE__API_KEYS", "there.txt")
    assert run("keys", "add", "billing").code == 0
    assert Path("there.txt").exists()


def test_workers_take_the_keys_of_the_file(run: Run, model: Path) -> None:
    key = run("keys", "add", "billing", "--file", "keys.txt", "--quiet").out.strip()

    with server(model, "--workers", "2", "--api-keys", "keys.txt") as served:
        first = served.events[0]
        statuses = [_status(f"{served.url}/v2/models/fraud", headers) for headers in ({}, {"X-API-Key": key})]
        assert served.end() == 0

    assert first["event"] == "ready"
    assert len(first["workers"]) == 2
    assert statuses == [401, 200]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["broken.onnx"], 9, id="broken file"),
        pytest.param(["missing.onnx"], 4, id="no file"),
        pytest.param(["fraud.onnx", "--api-keys", "none.txt"], 4, id="no keys"),
        pytest.param(["fraud.onnx", "--tls-cert", "fraud.onnx"], 2, id="half of TLS"),
        pytest.param(["fraud.onnx", "--tls-cert", "none", "--tls-key", "none"], 9, id="no certificate"),
        pytest.param(["fraud.onnx", "--tls-cert", "fraud.onnx", "--tls-key", "fraud.onnx"], 3, id="no PEM"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_fails_is_the_same_with_one_worker_and_with_two(
    model: Path, words: list[str], code: int, workers: str
) -> None:
    Path("broken.onnx").write_bytes(b"broken")
    command = [*MLSERVE, "serve", "--port", "0", "--workers", workers, *words, "--json"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (code, "")
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == code


def _status(url: str, headers: dict[str, str]) -> int:
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as response:
            return int(response.status)
    except HTTPError as error:
        with error:
            return error.code
