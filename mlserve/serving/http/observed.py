"""Connections with somebody looking on. Chosen when the server starts; without observers none of this is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic, time
from typing import Any

from mlserve.serving.http.connection import Connection
from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.http.replies import Reply
from mlserve.serving.http.routing import Route
from mlserve.serving.observing import GONE, Observer, Seen
from mlserve.serving.seam import Answer


class ObservedExchange(Exchange, gc=False, eq=False):
    """An exchange that remembers what observers are told: when it began, its status, its answer and its id."""

    began_s: float = 0.0
    status: int = 200
    answer: Answer | None = None
    told_id: bytes | None = None

    def __post_init__(self) -> None:
        self.began_s = monotonic()

    @property
    def request_id(self) -> bytes:
        if self.told_id is None:
            self.told_id = self.make_id()
        return self.told_id

    def deliver(self, outcome: Answer | Exception) -> None:
        if type(outcome) is Answer:
            self.answer = outcome
        Exchange.deliver(self, outcome)

    def write(self, reply: Reply) -> None:
        self.status = reply.status
        Exchange.write(self, reply)


class ObservedConnection(Connection):
    """A connection that lets ``observers`` see each request when its reply is made, or when its client has gone."""

    exchange_type = ObservedExchange

    def __init__(self, *parts: Any, observers: Sequence[Observer]) -> None:
        super().__init__(*parts)
        self._observers = observers
        self._client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._client = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
        super().connection_made(transport)

    def finish(self, exchange: Exchange) -> None:
        self._show(exchange)
        super().finish(exchange)

    def _forget(self) -> None:
        for exchange in self._queue:
            if exchange.reply is None and isinstance(exchange, ObservedExchange):
                exchange.status = GONE
                self._show(exchange)
        super()._forget()

    def _show(self, exchange: Exchange) -> None:
        assert isinstance(exchange, ObservedExchange)
        head, common = exchange.head, exchange.common
        # The plain reply, most common by far, has the number that was given out last.
        request_id = exchange.told_id or (
            exchange.request_id if exchange.status == GONE else b"%b-%x" % (common.prefix, common.numbered)
        )
        traceparent = None if head is None else head.traceparent
        wanting = [one for one in self._observers if one.wants(request_id, exchange.status, traceparent)]
        if wanting:
            seen = self._seen(exchange, request_id.decode(), traceparent)
            for one in wanting:
                one.note(seen)

    def _seen(self, exchange: ObservedExchange, request_id: str, traceparent: str | None) -> Seen:
        route = None if exchange.head is None else exchange.head.route
        route = route if isinstance(route, Route) else None
        answer, reply = exchange.answer, exchange.reply
        version = answer.version if answer is not None else str(route.version or "") if route is not None else ""
        return Seen(
            protocol="http",
            id=request_id,
            client=self._client,
            action="" if route is None else route.action.name.lower(),
            model="" if route is None else route.model,
            version=version,
            status=exchange.status,
            reply_bytes=len(reply) if isinstance(reply, bytes) else sum(map(len, reply or ())),
            ended_at=time(),
            began_s=exchange.began_s,
            ended_s=monotonic(),
            timing=None if answer is None else answer.batch.timing,
            traceparent=traceparent,
        )
