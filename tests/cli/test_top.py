"""top, on a real server: a line an interval, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

from mlserve.cli.top import COLUMNS
from tests.cli.conftest import Run
from tests.cli.test_serve import server
from tests.processes import MLSERVE


def test_a_script_gets_a_document_an_interval(run: Run, model: Path, rows: Path) -> None:
    with server(model) as served:
        run("predict", served.url, rows, "--json")
        done = run("top", served.url, "--interval", "0.05", "--count", "2", "--json")

    looks = [json.loads(line) for line in done.out.splitlines()]
    assert len(looks) == 2
    assert [(item["model"], item["version"], item["ready"]) for item in looks[0]["models"]] == [("fraud", "1", True)]
    assert looks[0]["interval_s"] > 0


def test_a_pipe_gets_a_line_a_version(run: Run, model: Path) -> None:
    with server(model) as served:
        done = run("top", served.url, "--interval", "0.05", "--count", "1")

    (line,) = done.out.splitlines()
    assert " fraud:1 requests/s=0.0 " in line
    assert all(f"{name.replace(' ', '_')}=" in line for name in COLUMNS[1:])


def test_without_a_server_it_is_exit_8(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    done = run("top", f"127.0.0.1:{port}", "--json")

    assert done.error["code"] == 8


def test_ctrl_c_ends_it_with_130(model: Path) -> None:
    with (
        server(model) as served,
        subprocess.Popen(
            [*MLSERVE, "top", served.url, "--interval", "0.05", "--json"], stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
