"""Chunked bodies (RFC 9112 §7.1), strictly: CRLF only, hexadecimal sizes only, trailers read and dropped."""

from __future__ import annotations

import re
from http import HTTPStatus

from mlserve.serving.http.replies import Reply, broken

MAX_CHUNKS = 65_536
_MAX_LINE_BYTES = 1024
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|\"[ !#-\[\]-~]*\"))?)*" % (_TOKEN, _TOKEN))
_SMALL = 4096


class BodyParts:
    """Pieces of a body as they come, joined once; small ones are merged, so that a trickle costs no memory."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if len(piece) >= _SMALL:
            self._parts.append(piece)
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += piece
        else:
            self._parts.append(bytearray(piece))

    def join(self) -> bytes:
        return b"".join(self._parts)


class ChunkedBody:
    """A chunked body under way: ``advance`` it with what has come until it ``is_complete`` or has a ``fault``."""

    __slots__ = ("_chunks", "_is_after_data", "_is_in_trailers", "_left", "_limits", "_trailer_bytes", "fault",
                 "is_complete", "parts")  # fmt: skip

    def __init__(self, max_body_bytes: int, max_trailer_bytes: int) -> None:
        self.parts = BodyParts()
        self.is_complete = False
        self.fault: Reply | None = None
        self._limits = max_body_bytes, max_trailer_bytes
        self._left = 0
        self._chunks = 0
        self._trailer_bytes = 0
        self._is_after_data = False
        self._is_in_trailers = False

    def advance(self, data: bytes, at: int) -> int:
        """Take what can be taken of ``data`` from ``at`` on; where it stopped, which is what to keep for next time."""
        while not self.is_complete and self.fault is None:
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    return at
                self.parts.add(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > _MAX_LINE_BYTES:
                    self.fault = broken(HTTPStatus.BAD_REQUEST, "a line of the chunked body is too long")
                return at
            self._take_line(data[at:end])
            at = end + 2
        return at

    def _take_line(self, line: bytes) -> None:
        if self._is_after_data:
            self._is_after_data = False
            if line:
                self.fault = broken(HTTPStatus.BAD_REQUEST, "a chunk is longer than its size says")
        elif self._is_in_trailers:
            self._take_trailer(line)
        else:
            self._take_size(line)

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            self.fault = broken(HTTPStatus.BAD_REQUEST, "a chunk has no hexadecimal size")
            return
        self._left = int(match[1], 16)
        self._chunks += 1
        self._is_after_data = self._left > 0
        self._is_in_trailers = self._left == 0
        if self.parts.size + self._left > self._limits[0]:
            self.fault = too_large(self._limits[0])
        elif self._chunks > MAX_CHUNKS:
            self.fault = broken(HTTPStatus.BAD_REQUEST, f"the body has more than {MAX_CHUNKS} chunks")

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if not line:
            self.is_complete = True
        elif self._trailer_bytes > self._limits[1]:
            self.fault = broken(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif b":" not in line or b"\n" in line or b"\r" in line:
            self.fault = broken(HTTPStatus.BAD_REQUEST, "a trailer of the chunked body is no header line")


def too_large(max_body_bytes: int) -> Reply:
    """The refusal of a body that is, or says it is, beyond the limit."""
    return broken(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {max_body_bytes} bytes")
