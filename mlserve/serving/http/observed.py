"""Connections with somebody looking on. Chosen when the server starts; without observers none of this is there.

    _begin ─► does anybody want this one? ──no──► an exchange like any other
                        └──yes──► ObservedExchange, whose ``line`` is a witness that tells of it when it is finished

Whether a request is wanted is decided when it comes, so that one which nobody wants costs no more than that question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic, time
from typing import Any

from mlserve.serving.http.connection import Connection
from mlserve.serving.http.exchanges import Common, Exchange
from mlserve.serving.http.heads import Head
from mlserve.serving.http.replies import Reply
from mlserve.serving.http.routing import Route
from mlserve.serving.observing import GONE, Observer, Seen
from mlserve.serving.seam import Answer


class ObservedExchange(Exchange, gc=False, eq=False):
    """An exchange that remembers what observers are told: who they are, when it began, its status, and answer."""

    observers: Sequence[Observer] = ()
    began_s: float = 0.0
    status: int = 200
    answer: Answer | None = None

    def deliver(self, outcome: Answer | Exception) -> None:
        if type(outcome) is Answer:
            self.answer = outcome
        Exchange.deliver(self, outcome)

    def write(self, reply: Reply) -> None:
        self.status = reply.status
        Exchange.write(self, reply)


class Witness:
    """The line of an observed exchange: tells of it when it is finished, then lets the connection write it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: ObservedConnection) -> None:
        self._connection = connection

    def finish(self, exchange: Exchange) -> None:
        if exchange.reply is not None:  # otherwise it is still being compressed
            self._connection.show(exchange)
        self._connection.finish(exchange)

    def write_part(self, exchange: Exchange, piece: bytes) -> None:
        self._connection.write_part(exchange, piece)


class ObservedConnection(Connection):
    """A connection that lets ``observers`` see requests when their reply is made, or when their client has gone."""

    def __init__(self, *parts: Any, observers: Sequence[Observer]) -> None:
        super().__init__(*parts)
        self._observers = observers
        self._made: ObservedExchange | None = None
        self.client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.client = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
        super().connection_made(transport)

    def _begin(self, head: Head, body: bytes) -> None:
        request_id, traceparent = head.request_id, head.traceparent
        wanting: list[Observer] | None = None
        for observer in self._observers:
            if observer.wants(request_id, traceparent):
                wanting = [observer] if wanting is None else [*wanting, observer]
        if wanting is None:
            super()._begin(head, body)
        else:
            self._begin_observed(head, body, wanting)

    def _begin_observed(self, head: Head, body: bytes, wanting: Sequence[Observer]) -> None:
        made: list[ObservedExchange] = []

        def make(line: Connection, head: Head | None, common: Common) -> ObservedExchange:
            made.append(ObservedExchange(Witness(self), head, common, observers=wanting, began_s=monotonic()))
            return made[0]

        self.exchange_type = make
        try:
            super()._begin(head, body)
        finally:
            del self.exchange_type
        # What was answered at once was finished without its witness.
        if made[0].reply is not None and made[0].observers:
            self.show(made[0])

    def _forget(self) -> None:
        for exchange in self._queue:
            if exchange.reply is None and isinstance(exchange, ObservedExchange):
                exchange.status = GONE
                self.show(exchange)
        super()._forget()

    def show(self, exchange: Exchange) -> None:
        """Tell of ``exchange``, once."""
        assert isinstance(exchange, ObservedExchange)
        observers, exchange.observers = exchange.observers, ()
        if not observers:
            return
        seen = seen_of(exchange, exchange.status, self.client)
        seen.began_s = exchange.began_s
        if exchange.answer is not None:
            seen.version = exchange.answer.version
            seen.timing = exchange.answer.batch.timing
        for observer in observers:
            observer.note(seen)


def show_failure(observers: Sequence[Observer], exchange: Exchange, status: int) -> None:
    """Tell those who want to know of every failure of one that they had not wanted before."""
    if isinstance(exchange, ObservedExchange):
        return
    wanting = [observer for observer in observers if observer.wants_failure(status)]
    if wanting:
        seen = seen_of(exchange, status, getattr(exchange.line, "client", ""))
        for observer in wanting:
            observer.note(seen)


def seen_of(exchange: Exchange, status: int, client: str) -> Seen:
    """What can be told of any exchange that has its reply."""
    common, head, reply = exchange.common, exchange.head, exchange.reply
    if exchange.told_id is not None or reply is None:
        request_id = exchange.request_id
    elif head is not None and head.request_id is not None:
        request_id = head.request_id
    else:
        # The plain reply, most common by far, has the number that was given out last, and so has a failure just made.
        request_id = b"%b-%x" % (common.prefix, common.numbered)
    route = head.route if head is not None and isinstance(head.route, Route) else None
    return Seen(
        protocol="http",
        id=request_id.decode(),
        client=client,
        action="" if route is None else route.action.name.lower(),
        model="" if route is None else route.model,
        version="" if route is None else str(route.version or ""),
        status=status,
        reply_bytes=len(reply) if isinstance(reply, bytes) else sum(map(len, reply or ())),
        ended_at=time(),
        ended_s=monotonic(),
        traceparent=None if head is None else head.traceparent,
    )
