"""Request line and headers → ``Head``. httptools parses them; a head whose bytes were seen before isn't parsed again.

Clients send the same head over and over. Parsing has no state, so equal bytes have an equal ``Head``, and a look-up of
the bytes takes the place of the parser, of routing, and of reading each header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import httptools
import msgspec

from mlserve.errors import MlserveError
from mlserve.serving.http.chunks import too_large
from mlserve.serving.http.coding import accepted
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.replies import Reply, broken, failed, refusal
from mlserve.serving.http.routing import Action, Route, Scope, route_of

Authorize = Callable[[Scope, Mapping[str, str]], None]
"""Takes what is asked to be done and the headers, names in lower case; raises what the client is to be told."""

END = b"\r\n\r\n"
"""What ends a head; it is no part of a head's bytes here."""

_REMEMBERED = 1024
_REMEMBERED_BYTES = 2048
_ENCODINGS = {b"": None, b"identity": None, b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}
_MAX_DIGITS = 18
_NOTHING_OF_ITS_OWN = (None, None, None)
_REQUEST_LINE = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.[01](?:\r\n|$)")
_PRINTABLE = re.compile(rb"[\x21-\x7e]{1,128}")


class Head(msgspec.Struct, gc=False, frozen=True):
    """What the head of a request says, worked out.

    ``route`` is a ``Reply`` where there is nothing to route to. ``body_bytes`` is None for a chunked body.
    ``json_bytes`` is the length of the JSON before blobs, None where all is JSON. ``request_id`` is the client's own.
    ``coding`` is what the reply may be compressed by. ``is_plain``: a reply needs nothing that is the client's own, and
    no word about the connection. ``is_infer``: it asks for inference, and its body has a length.
    """

    method: bytes
    route: Route | Reply
    body_bytes: int | None
    keep_alive: bool
    is_http10: bool
    expects_continue: bool
    json_bytes: int | None
    request_id: bytes | None
    encoding: str | None
    is_plain: bool
    is_infer: bool
    coding: str | None = None
    unit_key: str | None = None
    wants_receipt: bool = False
    traceparent: str | None = None


class Heads:
    """Heads by their bytes. ``authorize`` raises for what may not be asked; its verdict is kept with the head."""

    __slots__ = ("_authorize", "_known", "_limits", "get")

    def __init__(self, limits: Limits, authorize: Authorize | None = None) -> None:
        self._known: dict[bytes, Head] = {}
        self._limits = limits
        self._authorize = authorize
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def parse(self, raw: bytes) -> Head | Reply:
        """The head in ``raw``, or why the connection cannot go on."""
        head = parse_head(raw, self._limits, self._authorize)
        # A client's own ids and keys make each head a new one; they must not push out the others.
        is_common = isinstance(head, Head) and (head.request_id, head.unit_key, head.traceparent) == _NOTHING_OF_ITS_OWN
        if isinstance(head, Head) and is_common and len(raw) <= _REMEMBERED_BYTES:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[raw] = head
        return head

    def forget(self) -> None:
        """Judge every head anew from now on: who may ask what has changed."""
        self._known.clear()


class _Parsed:
    """What httptools reports of one head."""

    __slots__ = ("fields", "heads", "parser", "target")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.target = b""
        self.heads = 0
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1


def parse_head(raw: bytes, limits: Limits, authorize: Authorize | None = None) -> Head | Reply:
    """The head in ``raw``, or the refusal after which the connection ends: it is malformed, ambiguous or too much.

    What ``authorize`` refuses has the refusal for its route.
    """
    parsed = _Parsed()
    try:
        parsed.parser.feed_data(raw + END)
    except httptools.HttpParserUpgrade:
        pass  # an offer that nobody has to take up; the request is answered as it stands
    except httptools.HttpParserInvalidMethodError:
        if _REQUEST_LINE.match(raw):
            return broken(HTTPStatus.NOT_IMPLEMENTED, "the method is not known")
        return broken(HTTPStatus.BAD_REQUEST, "not an HTTP request")
    except httptools.HttpParserError as error:
        return broken(HTTPStatus.BAD_REQUEST, f"not an HTTP request: {error}")
    if parsed.heads != 1:
        return broken(HTTPStatus.BAD_REQUEST, "not an HTTP request")
    return _head(parsed, limits, authorize)


def _head(parsed: _Parsed, limits: Limits, authorize: Authorize | None) -> Head | Reply:
    fields, method = parsed.fields, parsed.parser.get_method()
    version = parsed.parser.get_http_version()
    if version not in ("1.0", "1.1"):
        return broken(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    is_http10 = version == "1.0"
    if not is_http10 and len(_all(fields, b"host")) != 1:
        return broken(HTTPStatus.BAD_REQUEST, "the request needs exactly one Host header")
    framing = _framing(fields, limits, is_http10=is_http10)
    if isinstance(framing, Reply):
        return framing
    expectation = _last(fields, b"expect").lower()
    if expectation not in (b"", b"100-continue"):
        return broken(HTTPStatus.EXPECTATION_FAILED)
    encoding = _last(fields, b"content-encoding").strip().lower()
    if encoding not in _ENCODINGS:
        return broken(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-encoding can be gzip, deflate or identity")
    json_bytes = _all(fields, b"inference-header-content-length")
    if len(json_bytes) > 1 or not all(_is_count(value) for value in json_bytes):
        return broken(HTTPStatus.BAD_REQUEST, "inference-header-content-length is no count of bytes")
    keep_alive = _keeps_alive(fields, is_http10=is_http10)
    request_id = printable(_last(fields, b"mlserve-request-id")) or None
    route = route_of(method, parsed.target)
    if authorize is not None and isinstance(route, Route):
        route = _allowed(route, fields, authorize)
    takes_rows = isinstance(route, Route) and route.action.takes_rows
    coding = accepted(b",".join(_all(fields, b"accept-encoding")))
    unit_key = _last(fields, b"mlserve-unit-key").decode("utf-8", "replace") or None
    wants_receipt = _last(fields, b"mlserve-receipt") in (b"1", b"true")
    return Head(
        method=method,
        route=refusal(HTTPStatus.LENGTH_REQUIRED) if takes_rows and not framing[1] else route,
        body_bytes=framing[0],
        keep_alive=keep_alive,
        is_http10=is_http10,
        expects_continue=bool(expectation) and not is_http10,
        json_bytes=int(json_bytes[0]) if json_bytes else None,
        request_id=request_id,
        encoding=_ENCODINGS[encoding],
        is_infer=takes_rows and isinstance(route, Route) and route.action is Action.INFER and framing[1],
        is_plain=keep_alive and not is_http10 and request_id is None and not wants_receipt,
        coding=coding,
        unit_key=unit_key,
        wants_receipt=wants_receipt,
        traceparent=_last(fields, b"traceparent").decode("latin-1") or None,
    )


def _allowed(route: Route, fields: Sequence[tuple[bytes, bytes]], authorize: Authorize) -> Route | Reply:
    """``route``, or why it may not be asked for."""
    scope = route.action.scope
    if scope is None:
        return route
    try:
        authorize(scope, {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in fields})
    except MlserveError as error:
        return failed(error)
    return route


def _framing(
    fields: Sequence[tuple[bytes, bytes]], limits: Limits, *, is_http10: bool
) -> tuple[int | None, bool] | Reply:
    """The length of the body (None: chunked) and whether the client gave any; llhttp has refused contradictions."""
    codings = _all(fields, b"transfer-encoding")
    lengths = _all(fields, b"content-length")
    if codings:
        if is_http10 or lengths:
            return broken(HTTPStatus.BAD_REQUEST, "transfer-encoding does not go with this request")
        if len(codings) > 1 or codings[0].strip().lower() != b"chunked":
            return broken(HTTPStatus.NOT_IMPLEMENTED, "the only transfer-encoding here is chunked")
        return None, True
    if not lengths:
        return 0, False
    if len(lengths) > 1 or not _is_count(lengths[0]):
        return broken(HTTPStatus.BAD_REQUEST, "content-length is no count of bytes")
    length = int(lengths[0])
    return too_large(limits.max_body_bytes) if length > limits.max_body_bytes else (length, True)


def _keeps_alive(fields: Sequence[tuple[bytes, bytes]], *, is_http10: bool) -> bool:
    options = {option.strip().lower() for value in _all(fields, b"connection") for option in value.split(b",")}
    return b"keep-alive" in options and b"close" not in options if is_http10 else b"close" not in options


def printable(value: bytes) -> bytes:
    """``value`` as a header may carry it back: visible ASCII of at most 128 bytes, else nothing.

    >>> printable(b"a-7"), printable(b"a b"), printable(bytes(300))
    (b'a-7', b'', b'')
    """
    return value if _PRINTABLE.fullmatch(value) else b""


def _is_count(value: bytes) -> bool:
    return value.isdigit() and len(value) <= _MAX_DIGITS


def _all(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == name]


def _last(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    values = _all(fields, name)
    return values[-1] if values else b""
