"""Several workers on one port: the ports reserved, the job of each worker, and the supervisor that runs them."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mlserve.core.settings import ServeSettings
from mlserve.errors import Unavailable
from mlserve.serving.events import Event, Events
from mlserve.serving.supervising.listeners import Listeners, open_listeners
from mlserve.serving.supervising.seats import Seat
from mlserve.serving.supervising.supervisor import Supervisor
from mlserve.serving.supervising.workers import Forward, Worker

WORKER = "mlserve.wiring.worker"


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked of the supervisor, and is asked of each worker but for its seat and ports."""

    targets: tuple[str, ...]
    flags: Mapping[str, Any]
    config_file: Path | None

    def packed(self, seat: Seat, settings: Mapping[str, Any]) -> bytes:
        """One line of JSON for the worker in ``seat``."""
        given = {name: value for name, value in self.flags.items() if value is not None}
        document = {
            "targets": self.targets,
            "flags": given | {f"serve.{name}": value for name, value in settings.items()},
            "config_file": None if self.config_file is None else str(self.config_file),
            "seat": asdict(seat),
        }
        return json.dumps(document, default=str).encode()


def supervise(
    job: Job,
    settings: ServeSettings,
    emit: Callable[[Mapping[str, Any]], None],
    *,
    warn: Callable[[str], None],
    must_have_grpc: bool,
) -> signal.Signals:
    """Run ``settings.workers`` workers until SIGTERM or SIGINT, and return which.

    Raises Unavailable for a port that is taken, and whatever keeps the first workers from becoming ready.
    """
    with (
        closing(open_listeners(settings.host, settings.port, settings.workers)) as listeners,
        _grpc_port(settings, must_have_grpc, warn) as grpc_port,
    ):
        ports = {"port": listeners.port, "grpc_port": grpc_port, "workers": 1}
        events = Events(emit)
        try:
            with tempfile.TemporaryDirectory(prefix="mlserve-") as name:
                return asyncio.run(_run(job, settings, ports, listeners, Path(name), events))
        finally:
            events.close(timeout_s=1.0)


async def _run(
    job: Job,
    settings: ServeSettings,
    ports: Mapping[str, Any],
    listeners: Listeners,
    folder: Path,
    events: Events,
) -> signal.Signals:
    def emit(event: Event) -> None:
        if event["event"] == "ready":
            events.ready(event)
        else:
            events(event)

    descriptors = listeners.descriptors
    inherited = [one for seat in descriptors for one in seat]

    async def start(number: int, forward: Forward, succeeds: bool) -> Worker:
        seat = Seat(number, settings.workers, folder, tuple(map(tuple, descriptors)), succeeds)
        command = (sys.executable, "-m", WORKER)
        return await Worker.start(number, command, job.packed(seat, ports), forward, descriptors=inherited)

    return await Supervisor(
        start, settings.workers, folder, emit, drain_s=settings.drain_s, leave_ports=listeners.close
    ).run()


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """A port (0: a free one) that nobody else listens on, kept so that workers can share it. Raises Unavailable.

    For gRPC, whose library listens by itself and takes no socket from anybody.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            # Without sharing first: somebody else's shared port would let us in among them.
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))
            alone.listen(1)
            port = alone.getsockname()[1]
        shared = socket.socket(family, socket.SOCK_STREAM)
        try:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared.bind((host, port))
        except OSError:
            shared.close()
            raise
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    with shared:
        yield port


@contextmanager
def _grpc_port(settings: ServeSettings, must_have: bool, warn: Callable[[str], None]) -> Iterator[int | Literal["off"]]:
    if settings.grpc_port == "off":
        yield "off"
        return
    reserving = reserved(settings.host, settings.grpc_port)
    try:
        port = reserving.__enter__()
    except Unavailable as error:
        if must_have:
            raise
        warn(f"{error.message}; serving without gRPC")
        yield "off"
        return
    try:
        yield port
    finally:
        reserving.__exit__(None, None, None)
