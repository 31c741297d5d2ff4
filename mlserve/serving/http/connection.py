"""One client's connection: requests begin in the order they come, answers leave in that order, slow clients are cut.

OPEN ──the last request has begun──► FINISHING ──its reply is written──► closed, or LINGERING if the client is
  │                                      ▲                               still sending: read and dropped, so that
  └──client closes its side──► HALF_CLOSED                               no reset destroys the reply on its way
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import cast

from mlserve.serving.http.answering import Answering
from mlserve.serving.http.exchanges import Common, Exchange
from mlserve.serving.http.heads import Head, Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.patience import Activity, Patience
from mlserve.serving.http.reading import Phase, RequestReader
from mlserve.serving.http.replies import CONTINUE, TOO_MANY, Reply, broken

_MAX_UNREAD_BYTES = 8 << 20
"""What a client may leave unread of an answer that comes in parts."""

_MANY_PARTS = 64
"""More pieces than these, which wait for their turn, are joined."""

_AT_ONCE = struct.pack("ii", 1, 0)
"""A socket that lingers for no time: closing it resets the connection."""


class State(Enum):
    OPEN = auto()
    HALF_CLOSED = auto()
    FINISHING = auto()
    LINGERING = auto()
    LOST = auto()


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket. ``on_made`` and ``on_lost`` tell the front end about it."""

    exchange_type: Callable[..., Exchange] = Exchange

    def __init__(
        self,
        answering: Answering,
        common: Common,
        limits: Limits,
        heads: Heads,
        on_made: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._answering = answering
        self._common = common
        self._max_pipelined = limits.max_pipelined
        self._on_made = on_made
        self._on_lost = on_lost
        self._reader = RequestReader(limits, heads)
        self._patience = Patience(limits)
        self._queue: deque[Exchange] = deque()
        self._transport = cast(asyncio.Transport, None)
        self._state = State.OPEN
        # Open, writable, nothing half received, nothing held back: what comes next may be taken the short way.
        self._is_quick = True
        self._is_writable = True
        self._is_advancing = False
        self._is_held = False
        self._has_left = False
        self._invited = -1

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if self._is_quick and not self._queue:
            exact = self._reader.take_exact(data)
            if exact is not None:
                self._begin(*exact)
                return
        if self._state is State.OPEN:
            self._reader.feed(data)
            self._advance()

    def eof_received(self) -> bool:
        """A client that closes its side may still read (RFC 9112 §9.6): what is due to it is given, for a while."""
        if not self._transport.can_write_eof():
            return False  # TLS, which knows no half: the client has gone
        if self._state is State.OPEN and self._queue:
            self._enter(State.HALF_CLOSED)
        self._has_left = True
        return self._state in (State.HALF_CLOSED, State.FINISHING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(State.LOST)
        self._forget()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._is_writable = self._is_quick = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._advance()

    def _enter(self, state: State) -> None:
        self._state = state
        self._is_quick = False

    # What the front end calls.

    def expire(self, now_s: float) -> None:
        """Cut the client if it has been slower than the limits allow; to be called again and again."""
        if self._patience.is_over(self._activity(), self._reader, self._transport.get_write_buffer_size(), now_s):
            if self._state is State.OPEN and not self._queue and self._reader.phase is not Phase.REQUEST:
                self._refuse(broken(HTTPStatus.REQUEST_TIMEOUT))
            elif self._activity() is Activity.IDLE:
                self._transport.close()
            else:
                self._reset()

    def turn_away(self) -> None:
        """Tell the client that too many are here, before it has asked for anything."""
        self._refuse(TOO_MANY)

    def close_if_idle(self) -> None:
        if self._activity() is Activity.IDLE:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _reset(self) -> None:
        """Cut the client so that the kernel, too, drops what it never read, megabytes of it, and does so at once."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    # Requests in.

    def _advance(self) -> None:
        """Begin on as many requests as may be worked on at a time; what is beyond that is not read."""
        if self._is_advancing:
            return
        self._is_advancing = True
        queue, take = self._queue, self._reader.take
        held = False
        while self._state is State.OPEN or self._state is State.HALF_CLOSED:
            if len(queue) >= self._max_pipelined or not self._is_writable:
                held = True
                break
            message = take()
            if message is None:
                break
            if isinstance(message, Reply):
                self._refuse(message)
            else:
                self._begin(*message)
        self._is_advancing = False
        self._is_quick = self._state is State.OPEN and not held and self._reader.is_empty
        if held is not self._is_held:
            self._hold(held)
        # A body at fault has ended the connection, and its head still waits.
        if self._reader.waiting_head is not None and self._state is State.OPEN:
            self._invite(self._reader.waiting_head)
        if self._state is State.HALF_CLOSED and not queue:
            self._transport.close()

    def _hold(self, is_held: bool) -> None:
        self._is_held = is_held
        if self._state is State.LOST or self._transport.is_closing():
            return
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _begin(self, head: Head, body: bytes) -> None:
        exchange = self.exchange_type(self, head, self._common)
        self._queue.append(exchange)
        if not head.keep_alive:
            self._enter(State.FINISHING)
        self._answering.begin(exchange, head, body)
        if exchange.reply is not None:
            self.finish(exchange)

    def _refuse(self, reply: Reply) -> None:
        """Answer what cannot be understood, after everything before it, and end."""
        exchange = self.exchange_type(self, None, self._common)
        self._queue.append(exchange)
        self._enter(State.FINISHING)
        exchange.write(reply)
        self.finish(exchange)

    def _invite(self, head: Head) -> None:
        """Tell a client that asked first to send its body, or that it needn't; once, and not before its turn."""
        reader = self._reader
        if not head.expects_continue or reader.body_received or self._invited == reader.taken or self._queue:
            return
        self._invited = reader.taken
        if isinstance(head.route, Reply):
            self._refuse(head.route)
        else:
            self._transport.write(CONTINUE)

    # Answers out.

    def finish(self, exchange: Exchange) -> None:
        """Write the reply of ``exchange``, and those that waited behind it, unless one before it is still due."""
        queue = self._queue
        if not queue or queue[0] is not exchange:
            return
        transport = self._transport
        while queue and (reply := queue[0].reply) is not None:
            if queue[0].parts:
                self._write_parts(queue[0])
            is_last = queue.popleft().is_last
            if isinstance(reply, bytes):
                transport.write(reply)
            else:
                transport.writelines(reply)
            if is_last:
                self._end()
                return
        if queue and queue[0].parts:
            self._write_parts(queue[0])
        if not self._is_quick:
            self._advance()

    def write_part(self, exchange: Exchange, piece: bytes) -> None:
        """Write ``piece``, or keep it until it is the turn of ``exchange``; a client that does not read is cut off."""
        queue = self._queue
        if not queue or (queue[0] is exchange and self._transport.is_closing()):
            return
        if exchange.parts is None:
            exchange.parts = []
        exchange.parts.append(piece)
        if queue[0] is exchange:
            self._write_parts(exchange)
            unread = self._transport.get_write_buffer_size()
        else:
            exchange.parts = [b"".join(exchange.parts)] if len(exchange.parts) > _MANY_PARTS else exchange.parts
            unread = sum(map(len, exchange.parts))
        if unread > _MAX_UNREAD_BYTES:
            self._transport.abort()

    def _write_parts(self, exchange: Exchange) -> None:
        parts, exchange.parts = exchange.parts or [], None
        self._transport.write(b"".join(parts))

    def _end(self) -> None:
        """Nothing more will be written."""
        self._forget()
        is_told_all = self._reader.phase is Phase.REQUEST
        if self._state is State.HALF_CLOSED or is_told_all or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._enter(State.LINGERING)
        if self._is_held:
            self._hold(False)
        self._transport.write_eof()

    def _forget(self) -> None:
        for exchange in self._queue:
            exchange.cancel()
        self._queue.clear()

    def _activity(self) -> Activity:
        if self._state is State.LINGERING:
            return Activity.LINGERING
        if not self._is_writable or self._transport.is_closing():
            return Activity.WRITING
        if self._queue:
            return Activity.LEAVING if self._has_left else Activity.WORKING
        if self._reader.phase is Phase.BODY:
            return Activity.BODY
        return Activity.HEAD if self._reader.phase is Phase.HEAD else Activity.IDLE
