"""One request that waits for its answer, from its admission to the bytes of its reply."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Protocol

import msgspec

from mlserve.core.request_ids import told_id
from mlserve.errors import MlserveError, NotFound
from mlserve.serving.http.coding import LEAST_BYTES, deflate
from mlserve.serving.http.heads import Head
from mlserve.serving.http.offloading import DEFLATED_BYTES, Offload
from mlserve.serving.http.replies import INTERNAL, Reply, StatusLines, failed
from mlserve.serving.http.routing import Route
from mlserve.serving.observing import reason_of
from mlserve.serving.oip.decoding import Wish
from mlserve.serving.oip.encoding import encode_answer, encode_plain
from mlserve.serving.oip.receipts import receipt_of
from mlserve.serving.seam import Answer, Ticket

_log = logging.getLogger("mlserve.serving.http")

_CLOSE = b"connection: close\r\n"
_KEEP = b"connection: keep-alive\r\n"


class Common(msgspec.Struct):
    """What all exchanges of a front end share. ``is_draining``: each reply is the last of its connection.

    Requests that bring no id get ``prefix``, which is the process's own, and a number. ``refused`` counts by status,
    ``failures`` by (model, reason), without a model where there is none of that name. ``on_failure`` is told of
    exchanges that failed, and the status. ``is_served`` says whether there is a model of a name.
    Without ``offload`` large replies are compressed on the loop. ``names_requests``: the engine is told what each
    request is called.
    """

    lines: StatusLines
    prefix: bytes
    is_draining: bool = False
    numbered: int = 0
    refused: dict[int, int] = msgspec.field(default_factory=dict)
    failures: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    on_failure: Callable[[Exchange, int], None] | None = None
    is_served: Callable[[str], bool] | None = None
    offload: Offload | None = None
    names_requests: bool = False

    def note_refusal(self, status: int) -> None:
        """Count a reply of 400 or above."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def note_failure(self, route: object, error: Exception) -> None:
        """Count what a request failed for."""
        # Names that nobody serves are the clients' to choose, so there is no end to them.
        model = route.model if isinstance(route, Route) and not isinstance(error, NotFound) else ""
        reason = reason_of(error)
        key = model, reason
        if key not in self.failures and self.is_served is not None and not self.is_served(model):
            key = "", reason
        self.failures[key] = self.failures.get(key, 0) + 1

    def next_id(self) -> bytes:
        self.numbered += 1
        return b"%b-%x" % (self.prefix, self.numbered)


class Line(Protocol):
    """The connection that an exchange belongs to."""

    def finish(self, exchange: Exchange) -> None:
        """The exchange has its reply."""

    def write_part(self, exchange: Exchange, piece: bytes) -> None:
        """Write ``piece`` of a reply that is not whole yet, now or when it is the exchange's turn."""


class Exchange(msgspec.Struct, gc=False, eq=False):
    """A request and, once there is one, its ``reply``: the pieces to write. ``is_last``: the connection ends with it.

    ``parts`` are pieces of a reply that comes bit by bit, of which others before it keep it from being written.
    ``receipt_from_s`` is when the request came, on the clock of the engine's timings, where a receipt is asked for.
    ``told_id`` is what the client is told that the request is called, once that is decided.
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
    receipt_from_s: float | None = None
    parts: list[bytes] | None = None
    told_id: bytes | None = None

    @property
    def request_id(self) -> bytes:
        """The client's own, from the header or the body, or one made here; always the same, once it was asked for."""
        if self.told_id is None:
            self.told_id = self._make_id()
        return self.told_id

    def _make_id(self) -> bytes:
        if self.head is not None and self.head.request_id is not None:
            return self.head.request_id
        if self.id:
            return told_id(self.id).encode()
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
        common, head = self.common, self.head
        text = encode_plain(answer)
        if (
            head is not None
            and head.is_plain
            and (head.coding is None or len(text) < LEAST_BYTES)
            and self.receipt_from_s is None
            and not common.is_draining
        ):
            if self.told_id is not None:
                opening = common.lines.ok_json, len(text), self.told_id, text
                self.reply = b"%bcontent-length: %d\r\nmlserve-request-id: %b\r\n\r\n%b" % opening
                return
            common.numbered += 1
            self.reply = b"%bcontent-length: %d\r\nmlserve-request-id: %b-%x\r\n\r\n%b" % (
                common.lines.ok_json,
                len(text),
                common.prefix,
                common.numbered,
                text,
            )
        else:
            self.write(Reply(200, text, self.receipt(answer)))

    def _write_answer(self, answer: Answer) -> None:
        encoded = encode_answer(answer, self.id, self.wish)
        if encoded.blobs is None:
            self.write(Reply(200, encoded.json, self.receipt(answer)))
            return
        described = b"inference-header-content-length: %d\r\n" % len(encoded.json)
        self._write_pieces(
            self.common.lines.ok_binary, described + self.receipt(answer), [encoded.json, *encoded.blobs]
        )

    def receipt(self, answer: Answer) -> bytes:
        """The header line that says how long what took, nothing where it is not asked for."""
        if self.receipt_from_s is None:
            return b""
        return b"mlserve-receipt: %b\r\n" % receipt_of(answer, self.receipt_from_s, monotonic()).encode()

    def write(self, reply: Reply) -> None:
        """Make the pieces of ``reply``; a HEAD request gets its head alone."""
        self.is_last = self.is_last or reply.is_last
        if reply.status >= HTTPStatus.BAD_REQUEST:
            self.common.note_refusal(reply.status)
        common, head, body = self.common, self.head, reply.body
        lines = common.lines.of(reply.status, reply.content_type)
        if (
            head is not None
            and head.is_plain
            and head.is_infer
            and self.id is None
            and self.told_id is None
            and not self.is_last
            and not common.is_draining
            and (head.coding is None or len(body) < LEAST_BYTES)
        ):
            # As below, for who refuses because there is no time should lose none.
            common.numbered += 1
            self.reply = b"%b%bcontent-length: %d\r\nmlserve-request-id: %b-%x\r\n\r\n%b" % (
                lines,
                reply.headers,
                len(body),
                common.prefix,
                common.numbered,
                body,
            )
        elif head is not None and head.method == b"HEAD":
            self.reply = lines + reply.headers + self.closing_lines(len(reply.body))
        else:
            self._write_pieces(lines, reply.headers, [reply.body])

    def _write_pieces(self, lines: bytes, headers: bytes, pieces: Sequence[bytes | memoryview]) -> None:
        length = sum(map(len, pieces))
        coding = None if self.head is None else self.head.coding
        if coding is None or length < LEAST_BYTES:
            self._join(lines + headers, pieces)
            return
        headers = b"content-encoding: %b\r\nvary: accept-encoding\r\n%b" % (coding.encode(), headers)
        offload = self.common.offload
        if offload is None or length < DEFLATED_BYTES:
            self._join(lines + headers, deflate(pieces, coding))
        else:
            offload.run(partial(deflate, pieces, coding), partial(self._finish_deflated, lines + headers))

    def _finish_deflated(self, opening: bytes, outcome: list[bytes] | Exception) -> None:
        """The reply was compressed beside the loop; until now this exchange had none."""
        if isinstance(outcome, Exception):
            self.fail(outcome)
        else:
            self._join(opening, outcome)
        self.line.finish(self)

    def _join(self, opening: bytes, pieces: Sequence[bytes | memoryview]) -> None:
        opening += self.closing_lines(sum(map(len, pieces)))
        self.reply = opening + pieces[0] if len(pieces) == 1 else [opening, *pieces]

    def closing_lines(self, length: int | None) -> bytes:
        """The last lines of a head; without a ``length`` the body is chunked, or ends with the connection."""
        head = self.head
        is_http10 = head is not None and head.is_http10
        if self.common.is_draining or head is None or not head.keep_alive or (length is None and is_http10):
            self.is_last = True
        connection = _CLOSE if self.is_last else _KEEP if is_http10 else b""
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        else:
            framing = b"" if is_http10 else b"transfer-encoding: chunked\r\n"
        return b"%b%bmlserve-request-id: %b\r\n\r\n" % (framing, connection, self.request_id)

    def fail(self, error: Exception) -> None:
        """The reply for ``error``: ours is told to the client; any other is logged, and the client gets a bland 500."""
        refusal = self.refusal(error)
        self.write(refusal)
        if self.common.on_failure is not None:
            self.common.on_failure(self, refusal.status)

    def refusal(self, error: Exception) -> Reply:
        """What the client is told of ``error``; a bug of ours is logged."""
        self.common.note_failure(None if self.head is None else self.head.route, error)
        if isinstance(error, MlserveError) and error.http_status != INTERNAL.status:
            return failed(error)
        _log.error("request %s: %s", self.request_id.decode(), error, exc_info=error)
        return INTERNAL

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self.ticket is not None:
            self.ticket.cancel()
            self.ticket = None
