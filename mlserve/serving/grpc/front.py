"""The front end: it listens on a port of its own, and drains."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from mlserve.errors import Unavailable
from mlserve.serving.grpc import reflection
from mlserve.serving.grpc.calls import Authorize, Calls
from mlserve.serving.grpc.health import HealthService
from mlserve.serving.grpc.observed import ObservedService
from mlserve.serving.grpc.service import InferenceService
from mlserve.serving.grpc.streams import Streams
from mlserve.serving.observing import Observer
from mlserve.serving.seam import Engine, Whole

log = logging.getLogger(__name__)

UNLIMITED = -1
_PING_MS = 10_000
_LONGEST_MS = (1 << 31) - 1


class GrpcFront:
    """gRPC for one engine, on one loop. ``await listen``; later ``await drain``, which ends it.

    ``max_message_bytes`` None takes messages of any size; ``authorize`` raises for calls that may not be made. A client
    beyond ``max_connections`` has its connection closed at once, which it sees as UNAVAILABLE; None lets all in.
    One that says nothing for ``handshake_timeout_s``, or calls nothing for ``idle_timeout_s``, keeps no room: it is cut
    and connects again with its next call, by itself.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_message_bytes: int | None = None,
        max_connections: int | None = None,
        handshake_timeout_s: float = 10.0,
        idle_timeout_s: float = 120.0,
        authorize: Authorize | None = None,
        observers: Sequence[Observer] = (),
        whole: Whole | None = None,
    ) -> None:
        self._whole = whole
        self._observers = tuple(observers)
        self._engine = engine
        self._max_message_bytes = UNLIMITED if max_message_bytes is None else max_message_bytes
        self._max_connections = max_connections
        self._handshake_timeout_s = handshake_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._calls = Calls(secrets.token_hex(4), authorize)
        self._streams = Streams()
        self._server: Any = None

    @property
    def refused(self) -> Mapping[int, int]:
        """How many calls ended with each gRPC code but OK."""
        return self._calls.refused

    @property
    def failures(self) -> Mapping[tuple[str, str], int]:
        """How many calls failed, by model and reason; those that never came to a model have "" for it."""
        return self._calls.failures

    async def listen(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        reuse_port: bool = False,
        credentials: grpc.ServerCredentials | None = None,
    ) -> int:
        """Take calls on ``host`` and ``port`` (0: a free one); the port that it became.

        Raises Unavailable if the address cannot be had.
        """
        self._server = grpc.aio.server(options=self._options(reuse_port))
        parts = (self._engine, self._calls, self._streams, asyncio.get_running_loop().time, self._whole)
        service = ObservedService(*parts, self._observers) if self._observers else InferenceService(*parts)
        self._server.add_generic_rpc_handlers(
            (
                service.handler(),
                HealthService(self._engine, self._calls, self._streams).handler(),
                *reflection.handlers(),
            )
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise Unavailable(
                f"cannot listen on {host}:{port} for gRPC: the address is in use or not this machine's",
                hint="--grpc-port PORT, or --grpc-port off",
            ) from error
        await self._server.start()
        return int(bound)

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls, finish what is under way, close; what is not done after ``timeout_s`` is cut off."""
        if self._server is not None:
            self._streams.leave()
            await self._server.stop(timeout_s)

    def _options(self, reuse_port: bool) -> Sequence[tuple[str, int]]:
        # Undocumented in Python; gRPC's core counts with it the connections that each port has open.
        most = self._max_connections
        cap = () if most is None else (("grpc.max_allowed_incoming_connections", most),)
        return (
            *cap,
            ("grpc.server_handshake_timeout_ms", _ms(self._handshake_timeout_s)),
            ("grpc.max_connection_idle_ms", _ms(self._idle_timeout_s)),
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_send_message_length", UNLIMITED),
            ("grpc.so_reuseport", int(reuse_port)),
            # Clients that keep idle connections alive are not to be told to calm down.
            ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS),
            ("grpc.keepalive_permit_without_calls", 1),
        )


def _ms(seconds: float) -> int:
    return min(_LONGEST_MS, max(1, round(1e3 * seconds)))
