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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlserve.core.refs import Stage, parse_name
from mlserve.core.settings import ServeSettings
from mlserve.core.slo import Slo, parse_slo
from mlserve.errors import Conflict, InvalidConfig, Unsupported, UsageError
from mlserve.runtime.threads import plan_for_throughput, usable_cores
from mlserve.serving.engine import BatchingEngine
from mlserve.serving.events import Emit, Events
from mlserve.serving.following import Follower, Upstream
from mlserve.serving.http.front import HttpFront
from mlserve.serving.http.limits import limits_of
from mlserve.serving.lanes import Lanes
from mlserve.serving.loading import Fetched, LoadOptions, Wanted, load_version
from mlserve.serving.metrics.collecting import Sources
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.exposition import text_of
from mlserve.serving.repository import Repository
from mlserve.serving.threads import OneThread

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 5e-4
"""How soon a lane that holds the GIL gives it to the loop; Python's own 5 ms would be most of a request's time."""

GOODBYE_S = 2.0
"""How long the end waits for the registry to be told of it."""

STOPPING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Targets:
    """What to serve: files under their stems as version 1, and models of the registry that ``upstream`` speaks for.

    ``names`` None is every model of the registry, those that come later too.
    """

    files: tuple[Path, ...] = ()
    names: tuple[str, ...] | None = ()
    upstream: Upstream | None = None


def serve(targets: Targets, settings: ServeSettings, emit: Emit) -> signal.Signals:
    """Serve until SIGTERM or SIGINT, drain, and return which of them it was. A second signal ends the drain at once.

    The first event is ``{"event": "ready", "http": URL, "grpc": None, "models": ["fraud"], "refs": ["fraud:2"]}``: what
    answers then. A model without a version in production is waited for. Raises InvalidInput for a file, or a version in
    production, that cannot be loaded; NotFound; Conflict for two targets of one name; Unavailable when the address is
    taken or the registry is out of reach; Unsupported for what is not offered yet.
    """
    _check(settings)
    _objective(settings)
    fixed = [_wanted(file) for file in targets.files]
    _check_names([one.name for one in fixed], targets.names)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    events = Events(emit)
    try:
        with runner:
            return runner.run(_serve(targets, fixed, settings, events))
    finally:
        events.close(timeout_s=1.0)
        sys.setswitchinterval(before_s)
        gc.unfreeze()


async def _serve(targets: Targets, fixed: list[Wanted], settings: ServeSettings, events: Events) -> signal.Signals:
    loop = asyncio.get_running_loop()
    stopping = _Stopping(loop)
    parts = _Parts(targets, fixed, settings, events, loop)
    parts.lanes.start()
    is_following, drain_s = False, 0.0
    try:
        addresses = await parts.front.listen(settings.host, settings.port)
        if not await stopping.unless(parts.follower.start()):
            return stopping.signal
        is_following, drain_s = True, settings.drain_s
        _freeze()
        answering = parts.repository.in_production()
        models, refs = [one.name for one in answering], [f"{one.name}:{one.version}" for one in answering]
        events.ready({"event": "ready", "http": _url(*addresses[0]), "grpc": None, "models": models, "refs": refs})
        await stopping.unless(parts.follower.run())
        await stopping.wait()
        events({"event": "draining", "signal": stopping.signal.name})
        return stopping.signal
    finally:
        stopping.begin_again()
        if not await stopping.unless(parts.drain(drain_s, is_following=is_following)):
            await parts.front.drain(0.0)
        parts.close()


class _Parts:
    """What one server is put together from, and how it is taken apart."""

    def __init__(
        self,
        targets: Targets,
        fixed: list[Wanted],
        settings: ServeSettings,
        events: Events,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        plan = plan_for_throughput(usable_cores())
        # One thread loads and one asks the registry; neither ever waits for the other.
        self.loader, self.asker = OneThread("loader"), OneThread("registry")
        self.lanes = Lanes(plan.lanes, loop)
        options = LoadOptions(settings.device, plan, settings.max_batch, settings.warmup_s)
        names = [*(one.name for one in fixed), *(targets.names or ())]
        counted = EventCounts(events)
        self.repository = Repository(names, partial(load_version, options=options), self.loader, on_event=counted)
        self.engine = BatchingEngine(
            self.repository,
            self.lanes,
            loop,
            max_queue_rows=settings.max_queue_rows,
            max_delay_s=settings.max_delay_ms / 1e3,
            preferred_rows=settings.preferred_batches,
            timeout_s=None if settings.request_timeout_ms is None else settings.request_timeout_ms / 1e3,
            slo=_objective(settings),
            cache_bytes=settings.response_cache_bytes,
            is_single_flight=bool(settings.response_cache_bytes)
            if settings.single_flight is None
            else settings.single_flight,
        )
        self.follower = Follower(
            self.repository,
            fixed,
            upstream=targets.upstream,
            names=targets.names,
            executor=self.asker,
            poll_s=settings.poll_s,
            on_event=counted,
        )
        self.front = HttpFront(
            self.engine, limits_of(settings), metrics=self._metrics_text if settings.metrics else None
        )
        self._sources = Sources(
            self.engine,
            counted,
            connections={"http": lambda: self.front.connections},
            refused={"http": lambda: self.front.refused},
            dropped={},
        )

    async def drain(self, drain_s: float, *, is_following: bool) -> None:
        """Not ready, nobody new, what is under way finished, and the registry told; as long as each may take."""
        self.engine.begin_drain()
        leaving = asyncio.create_task(self.follower.stop()) if is_following else None
        cut = await self.front.drain(drain_s)
        if cut:
            log.warning("%d clients were cut off after %g s", cut, drain_s)
        if leaving is not None:
            # A registry that hangs forgets this server by itself, when it has not heard of it for a while.
            await asyncio.wait((leaving,), timeout=GOODBYE_S)

    async def _metrics_text(self) -> bytes:
        return text_of(self._sources.families())

    def close(self) -> None:
        """End the threads; one that hangs is left behind."""
        self.lanes.close(timeout_s=1.0)
        self.loader.shutdown()
        self.asker.shutdown()


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
    name = file.stem
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


def _check(settings: ServeSettings) -> None:
    if settings.workers > 1:
        raise Unsupported(f"{settings.workers} workers are not offered yet", hint="--workers 1")
    if settings.grpc_port != "off":
        raise Unsupported("gRPC is not offered yet", hint="--grpc-port off")


def _objective(settings: ServeSettings) -> Slo | None:
    """The latency objective. Raises InvalidConfig for what is none."""
    if settings.slo is None:
        return None
    try:
        return parse_slo(settings.slo)
    except UsageError as error:
        raise InvalidConfig(f"serve.slo: {error.message}", hint=error.hint) from error


def _freeze() -> None:
    """Take what start-up made out of the collector's sight: it will be there to the end, and each look costs time."""
    gc.collect()
    gc.freeze()


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # not made for Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
