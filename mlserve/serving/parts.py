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
from mlserve.core.slo import Slo, parse_slo
from mlserve.errors import InvalidConfig, MlserveError, Unavailable, UsageError
from mlserve.runtime.threads import usable_cores
from mlserve.serving.accesslog import AccessLog
from mlserve.serving.addresses import address_of, url_of
from mlserve.serving.engine import BatchingEngine
from mlserve.serving.events import Events
from mlserve.serving.following import Follower, Upstream
from mlserve.serving.http.front import HttpFront
from mlserve.serving.http.limits import limits_of
from mlserve.serving.lanes import Lanes
from mlserve.serving.loading import Wanted, load_version
from mlserve.serving.looking_on import open_observers, open_recorder
from mlserve.serving.metrics.collecting import Sources
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.exposition import text_of
from mlserve.serving.options import options_of
from mlserve.serving.outcomes import OutcomeDesk
from mlserve.serving.repository import Repository
from mlserve.serving.security.access import Access, manages
from mlserve.serving.security.tls import grpc_credentials, renew, server_context, tls_files
from mlserve.serving.supervising.listeners import inherited
from mlserve.serving.supervising.members import Member
from mlserve.serving.supervising.seats import Seat
from mlserve.serving.threads import OneThread

if TYPE_CHECKING:
    from mlserve.serving.grpc.front import GrpcFront
    from mlserve.serving.shadow.mirror import Mirror
    from mlserve.serving.shadow.shadows import Shadows

log = logging.getLogger(__name__)

GOODBYE_S = 2.0
"""How long the end waits for the registry to be told of it."""

CLOSING_S = 5.0
"""How long the end waits for what was captured to be on disk."""

SHADOWS_S = 5.0
"""How long the end waits for what versions in shadow have shown."""

KEYS_S = 1.0
"""How often the file of API keys is looked at."""


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
        seat: Seat | None = None,
    ) -> None:
        cores = usable_cores()
        options = options_of(settings, cores if seat is None else seat.share_of(cores))
        self._seat = seat
        # Loads have threads of their own; neither those nor the one that asks the registry ever wait for the other.
        self.asker = OneThread("registry")
        self.lanes = Lanes(options.threads.lanes, loop)
        self.recorder = open_recorder(settings, loop)
        self.outcomes = (
            None
            if settings.capture is None
            else OutcomeDesk(Path(settings.capture), loop, max_depth=settings.max_json_depth)
        )
        names = [*(one.name for one in fixed), *(targets.names or ())]
        self.grpc: GrpcFront | None = None
        counted = EventCounts(events)
        self.shadows: Shadows | None = None
        self.repository = Repository(
            names,
            partial(load_version, options=options),
            on_event=counted,
            load_timeout_s=settings.load_timeout_s,
            key_input=settings.unit_key_input,
        )
        if targets.upstream is not None:
            # What a server of files need not pay for.
            from mlserve.serving.shadow.shadows import Shadows

            self.shadows = Shadows(
                loop,
                self.repository,
                settings,
                targets.upstream,
                self.asker,
                follow=self._follow_for,
                on_event=counted,
                folder=None if seat is None else seat.folder,
                writes=seat is None or seat.number == 0,
                hash_key=None if self.recorder is None else self.recorder.hash_key,
            )
            self.repository.elsewhere = self.shadows.lines
        self.follower = Follower(
            self.repository,
            fixed,
            upstream=targets.upstream,
            names=targets.names,
            executor=self.asker,
            poll_s=settings.poll_s,
            on_event=counted,
            shadows=self.shadows,
        )
        if self.shadows is not None:
            self.shadows.on_change = self.follower.look_again
        self.engine = BatchingEngine(
            self.repository,
            self.lanes,
            loop,
            max_queue_rows=settings.max_queue_rows,
            max_delay_s=(settings.max_delay_ms or 0.0) / 1e3,
            preferred_rows=settings.preferred_batches,
            timeout_s=None if settings.request_timeout_ms is None else settings.request_timeout_ms / 1e3,
            slo=objective_of(settings),
            cache_bytes=settings.response_cache_bytes,
            is_single_flight=bool(settings.response_cache_bytes)
            if settings.single_flight is None
            else settings.single_flight,
            on_demand=self.follower,
            on_answered=None if self.recorder is None else self.recorder.note,
            on_shared=None if self.recorder is None else self.recorder.note_shared,
            clients=lambda: self.front.connections,
        )
        self.observers = open_observers(settings, loop)
        keys_file = None if settings.api_keys is None else Path(settings.api_keys)
        self.access = Access(keys_file, manages=manages(settings.manage_routes, settings.host, keys_file))
        self._authorize = None if self.access.is_open else self.access.check
        self.tls = tls_files(settings.tls_cert, settings.tls_key, settings.tls_ca)
        self._tls_context = None if self.tls is None else server_context(self.tls)
        log_of = next((one for one in self.observers if isinstance(one, AccessLog)), None)
        recorder, dropped = self.recorder, {}
        if log_of is not None:
            dropped["access_log"] = lambda: log_of.dropped
        if recorder is not None:
            dropped["capture"] = lambda: recorder.dropped
        self._sources = Sources(
            self.engine,
            counted,
            connections={"http": lambda: self.front.connections},
            refused={
                "http": lambda: self.front.refused,
                "grpc": lambda: {} if self.grpc is None else self.grpc.refused,
            },
            dropped=dropped,
            failures={
                "http": lambda: self.front.failures,
                "grpc": lambda: {} if self.grpc is None else self.grpc.failures,
            },
            shadows=tuple if self.shadows is None else self.shadows.families,
        )
        self._member = (
            None
            if seat is None
            else Member(
                seat,
                self.engine,
                self.repository,
                self._sources.families,
                lambda sock: self.front.listen_at(sock, tls=self._tls_context),
                patience_s=settings.load_timeout_s,
            )
        )
        self._whole = None if self._member is None else self._member.together
        self.front = HttpFront(
            self.engine,
            limits_of(settings),
            metrics=self._metrics_text if settings.metrics else None,
            observers=self.observers,
            authorize=self._authorize,
            whole=self._whole,
            names_requests=self.recorder is not None,
            shadow=None if self.shadows is None else self.shadows.document,
            record=None if self.outcomes is None else self.outcomes.record,
        )

    @property
    def is_successor(self) -> bool:
        """Whether this process takes the place of a worker, rather than begin with the others."""
        return self._seat is not None and self._seat.succeeds

    async def listen(self, settings: ServeSettings) -> str:
        """Listen for HTTP; the URL. One of several workers is there for the others from now on."""
        if self._seat is None or self._member is None:
            addresses = await self.front.listen(settings.host, settings.port, tls=self._tls_context)
            return url_of(*addresses[0], is_secure=self.tls is not None)
        await self._member.join()
        own = [inherited(descriptor) for descriptor in self._seat.listeners[self._seat.number]]
        address = own[0].getsockname()[:2]
        for sock in own:
            await self.front.listen_at(sock, tls=self._tls_context)
        return url_of(*address, is_secure=self.tls is not None)

    async def listen_grpc(self, settings: ServeSettings, warn: Callable[[str], None] | None) -> str | None:
        """Listen for gRPC if it is on; the address. A port that is taken is only told of where there is a ``warn``."""
        if settings.grpc_port == "off":
            return None
        # grpcio takes memory and time that a server without gRPC need not pay.
        from mlserve.serving.grpc.front import GrpcFront

        front = GrpcFront(
            self.engine,
            max_message_bytes=settings.max_grpc_message_bytes,
            max_connections=settings.max_connections,
            handshake_timeout_s=settings.header_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
            authorize=self._authorize,
            observers=self.observers,
            whole=self._whole,
        )
        credentials = None if self.tls is None else grpc_credentials(self.tls)
        try:
            port = await front.listen(
                settings.host, settings.grpc_port, credentials=credentials, reuse_port=self._seat is not None
            )
        except Unavailable as error:
            if warn is None:
                raise
            warn(f"{error.message}; serving without gRPC")
            return None
        self.grpc = front
        return address_of(settings.host, port)

    def reload(self) -> None:
        """Read the API keys and the TLS files again; what cannot be used leaves things as they are."""
        self.access.reload_if_changed(always=True)
        self.front.judge_anew()
        if self.tls is None or self._tls_context is None:
            return
        try:
            renew(self._tls_context, self.tls)
        except MlserveError as error:
            log.warning("the TLS files stay as they were: %s", error.message)

    async def watch_keys(self) -> None:
        """Read the API keys again whenever their file has changed, until cancelled."""
        while True:
            await asyncio.sleep(KEYS_S)
            before = self.access.version
            self.access.reload_if_changed()
            if self.access.version != before:
                self.front.judge_anew()

    async def drain(self, drain_s: float, *, is_following: bool) -> None:
        """Not ready, nobody new, what is under way finished, and the registry told; as long as each may take."""
        self.engine.begin_drain()
        if self._member is not None:
            self._member.leave()
        leaving = asyncio.create_task(self.follower.stop()) if is_following else None
        grpc = None if self.grpc is None else asyncio.create_task(self.grpc.drain(drain_s))
        cut = await self.front.drain(drain_s)
        if grpc is not None:
            await grpc
        if self.shadows is not None:
            await self.shadows.stop(SHADOWS_S)
        if cut:
            log.warning("%d clients were cut off after %g s", cut, drain_s)
        if leaving is not None:
            # A registry that hangs forgets this server by itself, when it has not heard of it for a while.
            await asyncio.wait((leaving,), timeout=GOODBYE_S)

    def _follow_for(self, mirror: Mirror | None) -> None:
        """Have answers mirrored, or no longer: what the capture follows it follows anyway."""
        followers = [] if self.recorder is None else [(self.recorder.note, self.recorder.note_shared)]
        if mirror is not None:
            followers.append((mirror.note, mirror.note_shared))
        self.front.name_requests(bool(followers))
        self.engine.follow(followers)

    async def _metrics_text(self) -> bytes:
        return text_of(self._sources.families() if self._whole is None else await self._whole.families())

    async def cut_off(self) -> None:
        """End every connection at once."""
        await self.front.drain(0.0)
        if self.grpc is not None:
            await self.grpc.drain(0.0)

    def close(self) -> None:
        """End the threads; one that hangs is left behind."""
        if self._member is not None:
            self._member.close()
        if self.shadows is not None:
            self.shadows.close()
        self.lanes.close(timeout_s=1.0)
        self.repository.abandon()
        for observer in self.observers:
            observer.close(timeout_s=1.0)
        if self.outcomes is not None:
            self.outcomes.close()
        if self.recorder is not None:
            self.recorder.close(timeout_s=CLOSING_S)
        self.asker.shutdown()


def objective_of(settings: ServeSettings) -> Slo | None:
    """The latency objective. Raises InvalidConfig for what is none."""
    if settings.slo is None:
        return None
    try:
        return parse_slo(settings.slo)
    except UsageError as error:
        raise InvalidConfig(f"serve.slo: {error.message}", hint=error.hint) from error
