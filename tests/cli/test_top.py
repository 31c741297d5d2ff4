"""top, on a real server: a line an interval, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlserve.cli.top import COLUMNS, draw
from mlserve.serving.metrics.rates import Rate, ShadowRate
from mlserve.wiring.topping import Look
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


def test_a_person_at_a_terminal_gets_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = Rate(
        model="fraud", version="7", ready=False, requests_per_s=1234.5, rows_per_s=2000.0, p50_ms=0.25, p90_ms=0.5,
        p99_ms=1.5, queue_p99_ms=0.75, compute_p50_ms=0.1, batch_rows=None, queue_rows=3, rejected_per_s=0.5,
        failed_per_s=0.0,
    )  # fmt: skip
    shadow = ShadowRate("fraud", "8", True, 1200.5, 0.0, 0.0, 0.0125)
    look = Look(datetime(2026, 1, 2, tzinfo=UTC), 1.0, "http://box:8000", [rate], 12, 0.75, 100 << 20, [shadow])

    monkeypatch.setenv("COLUMNS", "100")
    draw([look, look])

    shown = capsys.readouterr().out
    assert "http://box:8000: 12 connections, 0.75 cores, 100 MiB" in shown
    assert "fraud:7 (away)" in shown
    assert "1234.5" in shown
    assert "fraud:8 in shadow compared/s=1200.5 dropped/s=0.0 failed/s=0.0 differing=1.25%" in shown
