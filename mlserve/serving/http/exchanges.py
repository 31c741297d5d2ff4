"""One request that waits for its answer, from its admission to the bytes of its reply."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

import msgspec

from mlserve.errors import MlserveError
from mlserve.serving.http.heads import Head
from mlserve.serving.http.replies import INTERNAL, Reply, StatusLines, failed
from mlserve.serving.oip.decoding import Wish
from mlserve.serving.oip.encoding import encode_answer, encode_plain
from mlserve.serving.seam import Answer, Ticket

_log = logging.getLogger("mlserve.serving.http")

_CLOSE = b"connection: close\r\n"
_KEEP = b"connection: keep-alive\r\n"
_PRINTABLE = "!#$&'()*+,/:;=?@[]"
_ID_BYTES = 128


class Common(msgspec.Struct):
    """What all exchanges of a front end share. ``is_draining``: each reply is the last of its connection.

    Requests that bring no id get ``prefix``, which is the process's own, and a number. ``refused`` counts by status.
    """

    lines: StatusLines
    prefix: bytes
    is_draining: bool = False
    numbered: int = 0
    refused: dict[int, int] = msgspec.field(default_factory=dict)

    def note_refusal(self, status: int) -> None:
        """Count a reply of 400 or above."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def next_id(self) -> bytes:
        self.numbered += 1
        return b"%b-%x" % (self.prefix, self.numbered)


class Line(Protocol):
    """The connection that an exchange belongs to."""

    def finish(self, exchange: Exchange) -> None:
        """The exchange has its reply."""


class Exchange(msgspec.Struct, gc=False, eq=False):
    """A request and, once there is one, its ``reply``: the pieces to write. ``is_last``: the connection ends with it.

    Without GC tracking: the connection forgets it when it is answered or lost, which breaks the circle between them.
    """

    line: Line
    head: Head | None
    common: Common
    id: str | None = None
    wish: Wish | None = None
    ticket: Ticket | None = None
    reply: bytes | list[bytes | memoryview] | None = None
    is_last: bool = False

    @property
    def request_id(self) -> bytes:
        """The client's own, from the header or the body, or one made here."""
        if self.head is not None and self.head.request_id is not None:
            return self.head.request_id
        if self.id:
            return quote(self.id, safe=_PRINTABLE).encode()[:_ID_BYTES]
        return self.common.next_id()

    def deliver(self, outcome: Answer | Exception) -> None:
        """Called by the engine, once: make the reply and let the connection write it."""
        self.ticket = None
        try:
            if isinstance(outcome, Exception):
                self.fail(outcome)
            elif self.id is None and self.wish is None:
                self._write_plain(outcome)
            else:
                self._write_answer(outcome)
        except Exception as error:  # a bug of ours must not take the batch's other answers with it
            self.fail(error)
        self.line.finish(self)

    def _write_plain(self, answer: Answer) -> None:
        common = self.common
        text = encode_plain(answer)
        if self.head is not None and self.head.is_plain and not common.is_draining:
            common.numbered += 1
            self.reply = b"%bcontent-length: %d\r\nmlserve-request-id: %b-%x\r\n\r\n%b" % (
                common.lines.ok_json,
                len(text),
                common.prefix,
                common.numbered,
                text,
            )
        else:
            self.write(Reply(200, text))

    def _write_answer(self, answer: Answer) -> None:
        common = self.common
        encoded = encode_answer(answer, self.id, self.wish)
        text = encoded.json
        if encoded.blobs is None:
            self.write(Reply(200, text))
            return
        length = len(text) + sum(map(len, encoded.blobs))
        opening = b"%binference-header-content-length: %d\r\n%b" % (
            common.lines.ok_binary,
            len(text),
            self._closing_lines(length),
        )
        self.reply = [opening, text, *encoded.blobs]

    def write(self, reply: Reply) -> None:
        """Make the pieces of ``reply``; a HEAD request gets its head alone."""
        self.is_last = self.is_last or reply.is_last
        if reply.status >= HTTPStatus.BAD_REQUEST:
            self.common.note_refusal(reply.status)
        opening = (
            self.common.lines.of(reply.status, reply.content_type)
            + reply.headers
            + self._closing_lines(len(reply.body))
        )
        is_head = self.head is not None and self.head.method == b"HEAD"
        self.reply = opening if is_head else opening + reply.body

    def _closing_lines(self, length: int) -> bytes:
        head = self.head
        if self.common.is_draining or head is None or not head.keep_alive:
            self.is_last = True
        connection = _CLOSE if self.is_last else _KEEP if head is not None and head.is_http10 else b""
        return b"content-length: %d\r\n%bmlserve-request-id: %b\r\n\r\n" % (length, connection, self.request_id)

    def fail(self, error: Exception) -> None:
        """The reply for ``error``: ours is told to the client; any other is logged, and the client gets a bland 500."""
        if isinstance(error, MlserveError) and error.http_status != INTERNAL.status:
            self.write(failed(error))
            return
        if self.id is None and (self.head is None or self.head.request_id is None):
            self.id = self.common.next_id().decode()  # the log and the reply must name the same id
        _log.error("request %s: %s", self.request_id.decode(), error, exc_info=error)
        self.write(INTERNAL)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self.ticket is not None:
            self.ticket.cancel()
            self.ticket = None
