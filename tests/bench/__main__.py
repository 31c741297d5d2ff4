"""``make bench``: requests a second of a small tabular model over HTTP, mlserve against what people write by hand.

    core 0   the server that is being measured, one at a time; or the bare session
    core 1   this process: the load

The servers take turns within each round, so that whatever else the machine does falls on all of them alike; each figure
is the median of the rounds. CPU is what the server's own process used for a request, and ``busy`` the share of its core
that this comes to: well below 100 % means that the load, or the rest of the machine, was the limit and not the server.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np

from mlserve.bench.clients import learn
from mlserve.bench.load import Load, run_load
from mlserve.bench.messages import Message, post_json
from mlserve.bench.stretches import Stretch
from mlserve.errors import Unavailable
from tests.bench.tabular import rows, save_tabular

CONCURRENCY = (1, 16, 64)
DISTINCT_ROWS = 64
HOST = "127.0.0.1"
REPORT = Path("build/bench/http.json")
TARGET_RATIO = 5.0


@dataclass
class Server:
    """A running server and the messages for it."""

    name: str
    port: int
    pid: int
    messages: list[Message]


def main(rounds: int, duration_s: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with tempfile.TemporaryDirectory() as folder:
        model = save_tabular(Path(folder) / "tabular.onnx")
        with mlserve(model, cores[0]) as ours, handler(model, cores[0]) as theirs:
            runs = [
                measured(server, concurrency, duration_s) | {"round": number}
                for number in range(rounds)
                for concurrency in CONCURRENCY
                for server in (ours, theirs)
            ]
        session = bare_session(model, cores[0], duration_s)
    report(runs, session, cores)


@contextmanager
def mlserve(model: Path, core: int) -> Iterator[Server]:
    """``mlserve serve`` as a user starts it."""
    command = [sys.executable, "-m", "mlserve", "serve", str(model), "--port", "0", "--device", "cpu", "--json"]
    with started(command, core) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        port = int(ready["http"].rsplit(":", 1)[1])
        path = "/v2/models/tabular/infer"
        bodies = [
            {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}
            for row in rows(DISTINCT_ROWS)
        ]
        requests = [post_json(HOST, port, path, body) for body in bodies]
        yield Server("mlserve", port, process.pid, learn(HOST, port, requests))


@contextmanager
def handler(model: Path, core: int) -> Iterator[Server]:
    """The FastAPI handler."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with started([sys.executable, "-m", "tests.bench.fastapi_handler", str(model), str(port)], core) as process:
        requests = [post_json(HOST, port, "/predict", {"features": [row]}) for row in rows(DISTINCT_ROWS)]
        yield Server("fastapi", port, process.pid, learned_once_up(port, requests))


@contextmanager
def started(command: list[str], core: int) -> Iterator[subprocess.Popen[str]]:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # what is started now inherits it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, mine)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def learned_once_up(port: int, requests: list[bytes]) -> list[Message]:
    end_s = perf_counter() + 60
    while True:
        try:
            return learn(HOST, port, requests)
        except Unavailable:
            if perf_counter() > end_s:
                raise
            sleep(0.05)


def measured(server: Server, concurrency: int, duration_s: float) -> dict[str, Any]:
    before_s = cpu_s(server.pid)
    run = run_load(Load(HOST, server.port, server.messages, Stretch(concurrency, duration_s)))
    cpu_us = 1e6 * (cpu_s(server.pid) - before_s) / max(1, run.requests)
    print(f"{server.name:>8} at {concurrency:>2}: {run.rps:>9,.0f} requests/s", file=sys.stderr)
    p50, p99 = (1e3 * s for s in run.latencies.percentiles_s([0.5, 0.99]))
    figures = {"concurrency": concurrency, "rps": run.rps, "p50_ms": p50, "p99_ms": p99, "errors": run.failed}
    return figures | {"server": server.name, "cpu_us": cpu_us}


def cpu_s(pid: int) -> float:
    """Seconds of CPU that process ``pid`` has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare_session(model: Path, core: int, duration_s: float) -> dict[str, Any]:
    """One row at a time through ``session.run``: no server, no HTTP, no JSON."""
    import onnxruntime

    os.sched_setaffinity(0, {core})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    row = np.array(rows(1), dtype=np.float32)
    count, end_s = 0, perf_counter() + duration_s
    began_s = perf_counter()
    while perf_counter() < end_s:
        session.run(None, {"x": row})
        count += 1
    return {"rps": count / (perf_counter() - began_s)}


def report(runs: list[dict[str, Any]], session: dict[str, Any], cores: list[int]) -> None:
    """Print the medians and their ratios, and write everything to ``build/bench/http.json``."""
    lines, ratios = [], {}
    titles = ("requests/s", "p50 ms", "p99 ms", "CPU µs", "busy", "errors")
    print(f"\n{'concurrency':>11} {'server':>8} " + " ".join(f"{title:>10}" for title in titles))
    for concurrency in CONCURRENCY:
        medians = {}
        for name in ("mlserve", "fastapi"):
            mine = [run for run in runs if run["server"] == name and run["concurrency"] == concurrency]
            line = {key: statistics.median(run[key] for run in mine) for key in ("rps", "p50_ms", "p99_ms", "cpu_us")}
            line["errors"] = sum(run["errors"] for run in mine)
            line["busy"] = line["rps"] * line["cpu_us"] / 1e6
            medians[name] = line
            lines.append(line | {"server": name, "concurrency": concurrency})
            print(
                f"{concurrency:>11} {name:>8} {line['rps']:>10,.0f} {line['p50_ms']:>10.2f} {line['p99_ms']:>10.2f} "
                f"{line['cpu_us']:>10.1f} {line['busy']:>10.0%} {line['errors']:>10}"
            )
        ours, theirs = medians["mlserve"], medians["fastapi"]
        ratios[str(concurrency)] = {
            "rps": ours["rps"] / theirs["rps"],
            "p99": theirs["p99_ms"] / ours["p99_ms"],
            "cpu": theirs["cpu_us"] / ours["cpu_us"],
            "of_bare_session": ours["rps"] / session["rps"],
        }
    print(f"\nbare session.run, one row at a time: {session['rps']:,.0f} rows/s")
    for at, ratio in ratios.items():
        print(
            f"at {at:>2}: {ratio['rps']:.1f} × the requests of the FastAPI handler, p99 {ratio['p99']:.1f} × shorter, "
            f"{ratio['cpu']:.1f} × less CPU; {ratio['of_bare_session']:.2f} × the bare session"
        )
    at_64 = ratios["64"]["rps"]
    verdict = "reached" if at_64 >= TARGET_RATIO else "missed"
    print(f"target at 64: {TARGET_RATIO:g} ×, measured {at_64:.1f} ×: {verdict}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cores": len(cores), "machine": platform.machine(), "python": platform.python_version()}
    whole = {"machine": machine, "medians": lines, "ratios": ratios, "bare_session": session, "runs": runs}
    REPORT.write_text(json.dumps(whole, indent=2) + "\n")
    print(f"everything measured: {REPORT}")


if __name__ == "__main__":
    main(rounds=int(os.environ.get("BENCH_ROUNDS", "3")), duration_s=float(os.environ.get("BENCH_SECONDS", "2")))
