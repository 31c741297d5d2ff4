"""The front end: it listens, knows its connections, sweeps out slow ones, and drains."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from mlserve.errors import MlserveError, NotFound, Unavailable
from mlserve.serving.http.answering import Answering, Metrics, Record, Shadow
from mlserve.serving.http.connection import Connection
from mlserve.serving.http.exchanges import Common
from mlserve.serving.http.heads import Authorize, Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.observed import ObservedConnection, show_failure
from mlserve.serving.http.offloading import Offload
from mlserve.serving.http.replies import StatusLines
from mlserve.serving.observing import Observer
from mlserve.serving.seam import Engine, Whole

BACKLOG = 2048
"""How many clients may wait to be accepted."""

_IDLE_GRACE_S = 0.5


class HttpFront:
    """HTTP for one engine, on one loop. ``await listen``; later ``await drain``, which ends it.

    ``names_requests``: the engine is told the id of each request. ``record`` takes outcomes.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Limits | None = None,
        *,
        metrics: Metrics | None = None,
        observers: Sequence[Observer] = (),
        authorize: Authorize | None = None,
        whole: Whole | None = None,
        names_requests: bool = False,
        shadow: Shadow | None = None,
        record: Record | None = None,
    ) -> None:
        self._engine = engine
        self._record = record
        self._whole = whole
        self._observers = tuple(observers)
        self._metrics = metrics
        self._shadow = shadow
        self._limits = limits or Limits()
        self._common = Common(StatusLines(time.time()), secrets.token_hex(4).encode())
        self._common.is_served = partial(_is_served, engine)
        self._common.names_requests = names_requests
        self._heads = Heads(self._limits, authorize)
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def refused(self) -> Mapping[int, int]:
        """How many replies had each status of 400 or above."""
        return self._common.refused

    @property
    def failures(self) -> Mapping[tuple[str, str], int]:
        """How many requests failed, by model and reason; those for no model there is have "" for it."""
        return self._common.failures

    async def listen(
        self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
    ) -> list[tuple[str, int]]:
        """Accept clients on ``host`` and ``port`` (0: a free one); the addresses that came of it.

        Raises Unavailable if the address cannot be had.
        """
        try:
            server = await self._accepting(tls)(host, port)
        except OSError as error:
            raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        self._servers.append(server)
        return [bound.getsockname()[:2] for bound in server.sockets]

    async def listen_at(self, sock: socket.socket, *, tls: ssl.SSLContext | None = None) -> Callable[[], None]:
        """Accept clients from ``sock``, which is bound and ours from now on; what is returned ends that."""
        server = await self._accepting(tls)(sock=sock)
        self._servers.append(server)
        return server.close

    def _accepting(self, tls: ssl.SSLContext | None) -> Callable[..., Awaitable[asyncio.Server]]:
        loop = asyncio.get_running_loop()
        if self._common.offload is None:
            self._common.offload = Offload(loop)
        answering = Answering(
            self._engine,
            self._limits,
            loop.time,
            self._metrics,
            self._common.offload,
            self._whole,
            record=self._record,
            shadow=self._shadow,
        )

        parts = (answering, self._common, self._limits, self._heads, self._made, self._lost)
        connection: Callable[[], Connection] = partial(Connection, *parts)
        if self._observers:
            connection = partial(ObservedConnection, *parts, observers=self._observers)
            self._common.on_failure = partial(show_failure, self._observers)

        # A client in its handshake is no connection yet, so that no other limit holds for it.
        handshake_s = None if tls is None else self._limits.header_timeout_s
        # Half a minute by default, in which a client that never says goodbye would hold up a drain.
        goodbye_s = None if tls is None else self._limits.linger_s
        if self._sweep_handle is None:
            self._sweep()
        return partial(
            loop.create_server,
            connection,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=goodbye_s,
        )

    def name_requests(self, names_requests: bool) -> None:
        """Tell the engine the id of each request from now on, or no longer."""
        self._common.names_requests = names_requests

    def judge_anew(self) -> None:
        """Who may ask what has changed: verdicts that were kept with the heads of requests hold no longer."""
        self._heads.forget()

    async def drain(self, timeout_s: float, *, idle_grace_s: float = _IDLE_GRACE_S) -> int:
        """Accept nobody new, finish what is under way, close; the number of clients cut off at ``timeout_s``.

        Each reply from now on ends its connection. Idle clients have ``idle_grace_s`` to send one more request, so that
        one which is just sending is answered, not reset.
        """
        loop = asyncio.get_running_loop()
        self._common.is_draining = True
        for server in self._servers:
            server.close()
        grace = loop.call_later(min(idle_grace_s, timeout_s), self._close_idle)
        try:
            await asyncio.wait_for(self._is_empty.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            grace.cancel()
        cut = list(self._connections)
        for connection in cut:
            connection.abort()
        await self._is_empty.wait()
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        if self._common.offload is not None:
            self._common.offload.close()
        return len(cut)

    def _close_idle(self) -> None:
        for connection in list(self._connections):
            connection.close_if_idle()

    def _made(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._is_empty.clear()
        if len(self._connections) > self._limits.max_connections:
            connection.turn_away()

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._common.lines.turn(time.time())
        for connection in list(self._connections):
            connection.expire(loop.time())
        self._sweep_handle = loop.call_later(self._limits.sweep_s, self._sweep)


def _is_served(engine: Engine, model: str) -> bool:
    try:
        engine.view(model)
    except NotFound:
        return False
    except MlserveError:
        pass  # it is not ready, so there is one
    return True
