"""One server process: bind, load, answer, follow, and on SIGTERM finish what is under way.

    bind ─► load what was named (health/live answers) ─► {"event": "ready"} ─► answer and follow
         ─► SIGTERM: not ready, finish, close ─► exit

Events go to ``emit``, one mapping each, "ready" always the first.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mlserve.core.refs import Stage, parse_name
from mlserve.core.settings import ServeSettings
from mlserve.errors import Conflict, UsageError
from mlserve.serving.descriptors import allow_files
from mlserve.serving.events import Emit, Events
from mlserve.serving.loading import Fetched, Wanted
from mlserve.serving.parts import Parts, Targets, objective_of
from mlserve.serving.supervising.seats import Seat

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 5e-4
"""How soon a lane that holds the GIL gives it to the loop; Python's own 5 ms would be most of a request's time."""

STOPPING = (signal.SIGTERM, signal.SIGINT)


def serve(
    targets: Targets,
    settings: ServeSettings,
    emit: Emit,
    *,
    warn: Callable[[str], None] = log.warning,
    must_have_grpc: bool = True,
    seat: Seat | None = None,
) -> signal.Signals:
    """Serve until SIGTERM or SIGINT, drain, and return which of them it was. A second signal ends the drain at once.

    SIGHUP reads the API keys and the TLS files again. ``seat`` is this process's place where it is one of several on
    the same ports, which ``settings`` then name.

    The first event is ``{"event": "ready", "http": URL, "grpc": ADDR, "models": ["fraud"], "refs": ["fraud:2"]}``: what
    answers then; ADDR is null without gRPC, which happens too, with a warning, where its port is taken and not
    ``must_have_grpc``. A model without a version in production is waited for. Raises InvalidInput for a file, or a
    version in production, that cannot be loaded; NotFound; Conflict for two targets of one name; Unavailable when the
    address is taken or the registry is out of reach.
    """
    objective_of(settings)
    fixed = [_wanted(file) for file in targets.files]
    _check_names([one.name for one in fixed], targets.names)
    ports = 1 if settings.grpc_port == "off" else 2
    clients = allow_files(ports * settings.max_connections)
    if clients is not None and clients < settings.max_connections:
        log.warning("%d clients fit into the limit of open files, not %d", clients, settings.max_connections)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    events = Events(emit)
    try:
        with runner:
            parts = Parts(targets, fixed, settings, events, runner.get_loop(), seat)
            return runner.run(_serve(parts, settings, events, None if must_have_grpc else warn))
    finally:
        events.close(timeout_s=1.0)
        sys.setswitchinterval(before_s)
        gc.unfreeze()


async def _serve(
    parts: Parts, settings: ServeSettings, events: Events, warn_of_grpc: Callable[[str], None] | None
) -> signal.Signals:
    loop = asyncio.get_running_loop()
    stopping = _Stopping(loop)
    parts.lanes.start()
    is_following, drain_s = False, 0.0
    watching: asyncio.Task[None] | None = None
    try:
        # Whoever succeeds another worker begins to listen when it can answer, as that one or its neighbours still do.
        ports = None if parts.is_successor else await _ports(parts, settings, warn_of_grpc)
        if not await stopping.unless(parts.follower.start()):
            return stopping.signal
        url, grpc = ports or await _ports(parts, settings, warn_of_grpc)
        is_following, drain_s = True, settings.drain_s
        _freeze()
        answering = parts.repository.in_production()
        models, refs = [one.name for one in answering], [f"{one.name}:{one.version}" for one in answering]
        events.ready({"event": "ready", "http": url, "grpc": grpc, "models": models, "refs": refs})
        loop.add_signal_handler(signal.SIGHUP, parts.reload)
        watching = loop.create_task(parts.watch_keys())
        await stopping.unless(parts.follower.run())
        await stopping.wait()
        events({"event": "draining", "signal": stopping.signal.name})
        return stopping.signal
    finally:
        stopping.begin_again()
        if watching is not None:
            watching.cancel()
        if not await stopping.unless(parts.drain(drain_s, is_following=is_following)):
            await parts.cut_off()
        parts.close()


async def _ports(
    parts: Parts, settings: ServeSettings, warn_of_grpc: Callable[[str], None] | None
) -> tuple[str, str | None]:
    """Listen; the addresses for HTTP and gRPC."""
    return await parts.listen(settings), await parts.listen_grpc(settings, warn_of_grpc)


class _Stopping:
    """The signal that ends the server; and coroutines that are given up when it comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.signal = signal.SIGTERM
        self._came = asyncio.Event()
        for number in STOPPING:
            loop.add_signal_handler(number, self._note, number)

    def _note(self, number: signal.Signals) -> None:
        self.signal = number
        self._came.set()

    def begin_again(self) -> None:
        """Forget the signal that came, so that ``unless`` waits for the next."""
        self._came.clear()

    async def wait(self) -> None:
        await self._came.wait()

    async def unless(self, work: Any) -> bool:
        """Whether ``work`` came to its end before a signal; otherwise it is cancelled. Raises what it raises."""
        task = asyncio.ensure_future(work)
        came = asyncio.ensure_future(self._came.wait())
        await asyncio.wait((task, came), return_when=asyncio.FIRST_COMPLETED)
        came.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return False
        task.result()
        return True


def _wanted(file: Path) -> Wanted:
    name = file.name if file.is_dir() else file.stem
    try:
        parse_name(name)
    except UsageError as error:
        raise UsageError(f"'{file}' cannot be served under its stem: {error.message}", hint=error.hint) from error
    return Wanted(name, 1, (str(Stage.PRODUCTION),), None, partial(Fetched, file))


def _check_names(files: Sequence[str], names: Sequence[str] | None) -> None:
    if not files and names is not None and not names:
        raise UsageError("nothing to serve", hint="name a model of the registry or an .onnx file")
    everything = [*files, *(names or ())]
    twice = next((name for name in everything if everything.count(name) > 1), None)
    if twice is not None:
        raise Conflict(f"two targets are called '{twice}'", hint="a file is served under its stem: rename one")


def _freeze() -> None:
    """Take what start-up made out of the collector's sight: it will be there to the end, and each look costs time."""
    gc.collect()
    gc.freeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # not made for Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
