"""Servers for ``make bench``, each a process of its own: mlserve, what it is compared with, and limits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlserve.bench.clients import learn
from mlserve.bench.load import Load, run_load
from mlserve.bench.measuring import CLOSED_DRAIN_S, OPEN_DRAIN_S
from mlserve.bench.messages import Message
from mlserve.bench.outcomes import Outcome
from mlserve.bench.stretches import Stretch
from mlserve.errors import Unavailable
from tests.bench.table import NotAvailable

HOST = "127.0.0.1"
START_S = 120.0
Cores = frozenset[int]
ALL_CORES: Cores = frozenset(os.sched_getaffinity(0))
SERVER_CORE: Cores = frozenset(sorted(ALL_CORES)[:1])
LOAD_CORE: Cores = frozenset(sorted(ALL_CORES)[-1:])


@dataclass
class Figures:
    """What one stretch of load on one server gave; ``cpu_us`` is the server's own, for each request."""

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float
    outcome: Outcome

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("rps", "p50_ms", "p99_ms", "errors", "cpu_us")}


@dataclass
class Server:
    """A running server, with the messages for it; ``grpc`` is the path of the method that they call, if any."""

    name: str
    port: int
    pid: int
    messages: Sequence[Message]
    grpc: str | None = None

    def load(self, concurrency: int, duration_s: float, *, due: Any = None, warmup_s: float = 0.2) -> Figures:
        """The figures under so many clients, or on a schedule."""
        before_s = cpu_s(self.pid)
        stretch = Stretch(concurrency, duration_s, warmup_s, due, CLOSED_DRAIN_S if due is None else OPEN_DRAIN_S)
        outcome = run_load(Load(HOST, self.port, self.messages, stretch, self.grpc))
        used_s = cpu_s(self.pid) - before_s
        p50, p99 = (1e3 * s for s in outcome.latencies.percentiles_s([0.5, 0.99]))
        # The server worked through the warm-up too.
        counted = max(1, outcome.requests) * (1 + warmup_s / duration_s)
        return Figures(outcome.rps, p50, p99, outcome.failed, 1e6 * used_s / counted, outcome)


@dataclass
class Ready:
    """An mlserve that is ready: its process, its port, and where it speaks gRPC."""

    pid: int
    port: int
    grpc: str | None

    def server(self, requests: Callable[[int], Sequence[bytes]], name: str = "mlserve") -> Server:
        """It as a server that is asked ``requests``, which are told its port."""
        return Server(name, self.port, self.pid, learn(HOST, self.port, requests(self.port)))


@contextmanager
def mlserve(model: Path, *, cores: Cores, settings: Mapping[str, str] | None = None) -> Iterator[Ready]:
    """``mlserve serve MODEL`` as a user starts it, with ``settings`` (``serve.slo`` …) from the environment.

    Raises NotAvailable for a setting that this mlserve doesn't know, or what it doesn't offer.
    """
    chosen = {"serve.grpc_port": "0"} | dict(settings or {})  # several servers at a time
    env = {f"MLSERVE_{name.upper().replace('.', '__')}": value for name, value in chosen.items()}
    command = [sys.executable, "-m", "mlserve", "serve", str(model), "--port", "0", "--device", "cpu", "--json"]
    with tempfile.TemporaryFile() as errors, started(command, cores, env=env, stderr=errors) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            errors.seek(0)
            raise NotAvailable(_why(errors.read().decode()))
        ready = json.loads(line)
        yield Ready(process.pid, int(ready["http"].rsplit(":", 1)[1]), ready.get("grpc"))


@contextmanager
def module(name: str, *words: str, cores: Cores, env: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """``python -m NAME WORDS PORT`` on a free port, once somebody answers there: its process and its port."""
    port = free_port()
    with started([sys.executable, "-m", name, *words, str(port)], cores, env=env) as process:
        _await_port(port, process)
        yield process.pid, port


@contextmanager
def started(
    command: Sequence[str], cores: Cores, *, env: Mapping[str, str] | None = None, stderr: Any = None
) -> Iterator[subprocess.Popen[str]]:
    """A process on ``cores``, ended when the block ends."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # what is started now inherits it
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | (env or {}),
        )
    finally:
        os.sched_setaffinity(0, mine)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def on_cores(cores: Cores) -> Iterator[None]:
    """This process, which is the load generator, on ``cores``."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def learned(port: int, requests: Sequence[bytes]) -> list[Message]:
    """The messages for a server that may still be starting."""
    end_s = monotonic() + START_S
    while True:
        try:
            return learn(HOST, port, requests)
        except Unavailable:
            if monotonic() > end_s:
                raise
            sleep(0.05)


def family(pid: int) -> list[int]:
    """A process and all that it has started, as they are now."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in task.read_text().split()]
            except OSError:
                continue
    return found


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process and all that it started have used."""
    total_ns = 0
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").glob("*/schedstat"):
            try:
                total_ns += int(task.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total_ns / 1e9


def pss_mb(pid: int) -> float:
    """Memory of a process and all that it started, shared pages by their share. Raises NotAvailable."""
    total_kb = 0
    for one in family(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError as error:
            raise NotAvailable(f"smaps_rollup cannot be read: {error.strerror}") from error
        total_kb += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total_kb * 1024 / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[str]) -> None:
    end_s = monotonic() + START_S
    while monotonic() < end_s:
        if process.poll() is not None:
            raise NotAvailable(f"it ended with {process.returncode} before it answered")
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            sleep(0.05)
    raise NotAvailable("it did not answer in time")


def _why(said: str) -> str:
    """The sentence of the error document that a command left on stderr."""
    for line in reversed(said.strip().splitlines()):
        try:
            return str(json.loads(line)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            continue
    return said.strip().splitlines()[-1] if said.strip() else "mlserve serve ended at once"
