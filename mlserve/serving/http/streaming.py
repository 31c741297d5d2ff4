"""Server-sent events: an answer that comes in parts, each written as soon as it is there.

    deliver(part) ─► the reply's head, once; then ``data: {…}`` ─► chunk      an error before the first part is a plain
    end(None | error) ─► the last chunk                                        reply, after it an event of its own

A receipt, where one is asked for, is that of the first part: no header comes behind it.

Source: WHATWG HTML, server-sent events; RFC 9112 §7.1 for the chunks.
"""

from __future__ import annotations

from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.oip.generate import encode_generated
from mlserve.serving.seam import Answer

EVENTS = b"text/event-stream"
LAST_CHUNK = b"0\r\n\r\n"


class EventStream:
    """Writes the parts of one answer. ``deliver`` and ``end`` are what the engine calls, on the loop's thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_chunked = exchange.head is None or not exchange.head.is_http10
        self._has_begun = False
        self._is_over = False

    def deliver(self, part: Answer | Exception) -> None:
        """Write one part; an exception ends the stream."""
        if isinstance(part, Exception):
            self.end(part)
        elif not self._is_over:
            try:
                event = encode_generated(part)
            except Exception as error:
                self.end(error)
                return
            if not self._has_begun:
                self._begin(self._exchange.receipt(part))
            self._send(event)

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes; ``error`` is why, if it was not meant to end here."""
        if self._is_over:
            return
        self._is_over = True
        exchange = self._exchange
        if error is not None and not self._has_begun:
            exchange.fail(error)
        else:
            if error is not None:
                self._send(exchange.refusal(error).body)
            elif not self._has_begun:
                self._begin()
            # Nobody looks for idle connections a second time in a drain.
            exchange.is_last = exchange.is_last or exchange.common.is_draining
            exchange.reply = LAST_CHUNK if self._is_chunked else b""
        exchange.ticket = None
        exchange.line.finish(exchange)

    def _begin(self, headers: bytes = b"") -> None:
        self._has_begun = True
        exchange = self._exchange
        lines = exchange.common.lines.of(200, EVENTS) + b"cache-control: no-cache\r\n"
        exchange.line.write_part(exchange, lines + headers + exchange.closing_lines(None))

    def _send(self, data: bytes) -> None:
        event = b"data: %b\n\n" % data
        piece = b"%x\r\n%b\r\n" % (len(event), event) if self._is_chunked else event
        self._exchange.line.write_part(self._exchange, piece)
