"""Bytes as they come → whole requests, one at a time, however the bytes were cut into pieces. No I/O, no clock."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus

import msgspec

from mlserve.serving.http.chunks import BodyParts, ChunkedBody
from mlserve.serving.http.heads import END, Head, Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.replies import Reply, broken


class Phase(Enum):
    """What the reader waits for."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()


_DROPPED_BYTES = 64 << 10
"""A longer body of a request that is refused by its head is not read: strangers must not fill the memory."""


class RequestReader:
    """One connection's bytes: ``feed`` what came, then ``take`` requests until there is none.

    What isn't taken stays here, so whoever takes decides how many requests are worked on at a time.
    """

    __slots__ = ("_at", "_body", "_data", "_head", "_heads", "_left", "_limits", "taken")

    def __init__(self, limits: Limits, heads: Heads) -> None:
        self.taken = 0
        self._limits = limits
        self._heads = heads
        self._data = b""
        self._at = 0
        self._head: Head | None = None
        self._body: BodyParts | ChunkedBody | None = None
        self._left = 0

    @property
    def phase(self) -> Phase:
        if self._head is not None:
            return Phase.BODY
        return Phase.HEAD if self._at < len(self._data) else Phase.REQUEST

    @property
    def body_received(self) -> int:
        """Bytes of the unfinished body that have come."""
        if isinstance(self._body, ChunkedBody):
            return self._body.parts.size
        return 0 if self._body is None else self._body.size

    @property
    def waiting_head(self) -> Head | None:
        """The head whose body has not come whole."""
        return self._head

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a request is here."""
        return self._head is None and self._at >= len(self._data)

    def take_exact(self, data: bytes) -> tuple[Head, bytes] | None:
        """The request that ``data`` is, no more and no less, with a head seen before; None where that is not so.

        Only while the reader ``is_empty``. It is what nearly always happens, for a fraction of the price.
        """
        raw, end, body = data.partition(END)
        head = self._heads.get(raw)
        # Without its end it is no head yet: the next piece may go on with it.
        if head is None or head.body_bytes != len(body) or not end:
            return None
        self.taken += 1
        return head, body

    def feed(self, data: bytes) -> None:
        if self._at < len(self._data):
            self._data = self._data[self._at :] + data
        else:
            self._data = data
        self._at = 0

    def take(self) -> tuple[Head, bytes] | Reply | None:
        """The next whole request; or the last reply of a connection that cannot go on; or None: more must come."""
        if self._head is not None:
            return self._take_body(self._head)
        # Empty lines before a request line are to be ignored (RFC 9112 §2.2).
        while self._data.startswith(b"\r\n", self._at):
            self._at += 2
        end = self._data.find(END, self._at)
        if end < 0:
            too_long = len(self._data) - self._at > self._limits.max_header_bytes
            return broken(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) if too_long else None
        raw = self._data[self._at : end]
        if len(raw) > self._limits.max_header_bytes:
            return broken(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        head = self._heads.get(raw) or self._heads.parse(raw)
        if isinstance(head, Reply):
            return head
        self._at = end + 4
        max_bytes = self._limits.max_body_bytes
        if isinstance(head.route, Reply):
            max_bytes = min(max_bytes, _DROPPED_BYTES)
            if head.body_bytes is not None and head.body_bytes > max_bytes:
                return msgspec.structs.replace(head.route, is_last=True)
        self._head = head
        if head.body_bytes is None:
            self._body = ChunkedBody(max_bytes, self._limits.max_header_bytes)
        else:
            self._body = BodyParts()
            self._left = head.body_bytes
        return self._take_body(head)

    def _take_body(self, head: Head) -> tuple[Head, bytes] | Reply | None:
        body = self._body
        if isinstance(body, ChunkedBody):
            self._at = body.advance(self._data, self._at)
            if body.fault is not None:
                refusal = head.route
                return msgspec.structs.replace(refusal, is_last=True) if isinstance(refusal, Reply) else body.fault
            return self._finish(head, body.parts) if body.is_complete else None
        assert body is not None
        piece = self._data[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        body.add(piece)
        return None if self._left else self._finish(head, body)

    def _finish(self, head: Head, parts: BodyParts) -> tuple[Head, bytes]:
        self._head = self._body = None
        self.taken += 1
        return head, parts.join()
