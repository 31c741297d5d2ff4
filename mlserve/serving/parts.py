"""What one server is put together from: repository, engine, lanes, front ends, metrics, and how they come apart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.core.settings import ServeSettings
from mlserve.errors import Unavailable
from mlserve.runtime.threads import plan_for_throughput, usable_cores
from mlserve.serving.engine import BatchingEngine
from mlserve.serving.events import Events
from mlserve.serving.following import Follower, Upstream
from mlserve.serving.http.front import HttpFront
from mlserve.serving.http.limits import limits_of
from mlserve.serving.lanes import Lanes
from mlserve.serving.loading import LoadOptions, Wanted, load_version
from mlserve.serving.metrics.collecting import Sources
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.exposition import text_of
from mlserve.serving.repository import Repository
from mlserve.serving.threads import OneThread

if TYPE_CHECKING:
    from mlserve.serving.grpc.front import GrpcFront

log = logging.getLogger(__name__)

GOODBYE_S = 2.0
"""How long the end waits for the registry to be told of it."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What to serve: files under their stems as version 1, and models of the registry that ``upstream`` speaks for.

    ``names`` None is every model of the registry, those that come later too.
    """

    files: tuple[Path, ...] = ()
    names: tuple[str, ...] | None = ()
    upstream: Upstream | None = None


class Parts:
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
        # Loads have threads of their own; neither those nor the one that asks the registry ever wait for the other.
        self.asker = OneThread("registry")
        self.lanes = Lanes(plan.lanes, loop)
        options = LoadOptions(settings.device, plan, settings.max_batch, settings.warmup_s)
        names = [*(one.name for one in fixed), *(targets.names or ())]
        self.grpc: GrpcFront | None = None
        counted = EventCounts(events)
        self.repository = Repository(
            names,
            partial(load_version, options=options),
            on_event=counted,
            load_timeout_s=settings.load_timeout_s,
            key_input=settings.unit_key_input,
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
        self.engine = BatchingEngine(
            self.repository,
            self.lanes,
            loop,
            max_queue_rows=settings.max_queue_rows,
            max_delay_s=settings.max_delay_ms / 1e3,
            on_demand=self.follower,
        )
        self.front = HttpFront(
            self.engine, limits_of(settings), metrics=self._metrics_text if settings.metrics else None
        )
        self._sources = Sources(
            self.engine,
            counted,
            connections={"http": lambda: self.front.connections},
            refused={
                "http": lambda: self.front.refused,
                "grpc": lambda: {} if self.grpc is None else self.grpc.refused,
            },
            dropped={},
        )

    async def listen_grpc(self, settings: ServeSettings, warn: Callable[[str], None] | None) -> str | None:
        """Listen for gRPC if it is on; the address. A port that is taken is only told of where there is a ``warn``."""
        if settings.grpc_port == "off":
            return None
        # grpcio takes memory and time that a server without gRPC need not pay.
        from mlserve.serving.grpc.front import GrpcFront

        front = GrpcFront(self.engine, max_message_bytes=settings.max_grpc_message_bytes)
        try:
            port = await front.listen(settings.host, settings.grpc_port)
        except Unavailable as error:
            if warn is None:
                raise
            warn(f"{error.message}; serving without gRPC")
            return None
        self.grpc = front
        return address_of(settings.host, port)

    async def drain(self, drain_s: float, *, is_following: bool) -> None:
        """Not ready, nobody new, what is under way finished, and the registry told; as long as each may take."""
        self.engine.begin_drain()
        leaving = asyncio.create_task(self.follower.stop()) if is_following else None
        grpc = None if self.grpc is None else asyncio.create_task(self.grpc.drain(drain_s))
        cut = await self.front.drain(drain_s)
        if grpc is not None:
            await grpc
        if cut:
            log.warning("%d clients were cut off after %g s", cut, drain_s)
        if leaving is not None:
            # A registry that hangs forgets this server by itself, when it has not heard of it for a while.
            await asyncio.wait((leaving,), timeout=GOODBYE_S)

    async def _metrics_text(self) -> bytes:
        return text_of(self._sources.families())

    async def cut_off(self) -> None:
        """End every connection at once."""
        await self.front.drain(0.0)
        if self.grpc is not None:
            await self.grpc.drain(0.0)

    def close(self) -> None:
        """End the threads; one that hangs is left behind."""
        self.lanes.close(timeout_s=1.0)
        self.repository.abandon()
        self.asker.shutdown()


def url_of(host: str, port: int) -> str:
    """
    >>> url_of("::1", 8000)
    'http://[::1]:8000'
    """
    return f"http://{address_of(host, port)}"


def address_of(host: str, port: int) -> str:
    """Host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
