"""What goes back: ``Reply`` values, and the bytes of status lines and headers."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from math import ceil
from wsgiref.handlers import format_date_time

import msgspec

from mlserve.errors import MlserveError, Overloaded, Unauthenticated, Unavailable
from mlserve.serving.oip.documents import failure, failure_text, sentence_of

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON = b"application/json"
BINARY = b"application/octet-stream"
RETRY_AFTER_S = 1
_REMEMBERED = 64


class Reply(msgspec.Struct, frozen=True):
    """A whole answer that is known at once: a document or a refusal. ``headers`` are finished lines.

    ``is_last``: the connection cannot go on after it.
    """

    status: int
    body: bytes
    headers: bytes = b""
    is_last: bool = False
    content_type: bytes = JSON


def document(body: bytes) -> Reply:
    """A document, as JSON."""
    return Reply(200, body)


def refusal(status: HTTPStatus, sentence: str | None = None, *, headers: bytes = b"", is_last: bool = False) -> Reply:
    """An error of the HTTP layer itself; without a sentence, the status' own words."""
    return Reply(status, failure_text(sentence or status.phrase), headers, is_last)


def broken(status: HTTPStatus, sentence: str | None = None) -> Reply:
    """A refusal after which nobody knows where the next request begins, or whether it should be believed."""
    return refusal(status, sentence, is_last=True)


def failed(error: MlserveError) -> Reply:
    """The reply for one of our own errors; those that pass by themselves say when to come back."""
    if isinstance(error, Overloaded):
        return _come_back(error.http_status, sentence_of(error), ceil(error.retry_after_s or 0))
    headers = b""
    if type(error) is Unavailable:
        headers = b"retry-after: %d\r\n" % RETRY_AFTER_S
    elif isinstance(error, Unauthenticated):
        headers = b"www-authenticate: Bearer\r\n"
    return Reply(error.http_status, failure(error), headers)


@lru_cache(_REMEMBERED)
def _come_back(status: int, sentence: str, after_s: int) -> Reply:
    """Made once for many: who is overloaded says the same over and over, and has no time for that."""
    headers = b"retry-after: %d\r\n" % max(RETRY_AFTER_S, after_s)
    return Reply(status, failure_text(sentence), headers)


TOO_MANY = refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too many clients are connected",
    headers=b"retry-after: %d\r\n" % RETRY_AFTER_S,
    is_last=True,
)
INTERNAL = refusal(HTTPStatus.INTERNAL_SERVER_ERROR)


class StatusLines:
    """First lines of replies, with the date in them; ``turn`` them once a second or so."""

    __slots__ = ("_date", "_known", "ok_binary", "ok_json")

    def __init__(self, now_s: float) -> None:
        self.turn(now_s)

    def turn(self, now_s: float) -> None:
        """``now_s`` is seconds since 1970."""
        self._date = b"date: %b\r\n" % format_date_time(now_s).encode()
        self._known: dict[tuple[int, bytes], bytes] = {}
        self.ok_json = self.of(200, JSON)
        self.ok_binary = self.of(200, BINARY)

    def of(self, status: int, content_type: bytes) -> bytes:
        """Status line, date and content type."""
        known = self._known.get((status, content_type))
        if known is None:
            phrase = HTTPStatus(status).phrase.encode()
            known = b"HTTP/1.1 %d %b\r\n%bcontent-type: %b\r\n" % (status, phrase, self._date, content_type)
            self._known[status, content_type] = known
        return known
