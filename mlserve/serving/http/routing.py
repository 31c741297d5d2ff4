"""Path and method → what is asked. The routes are the Open Inference Protocol's, and two lists of models."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

import msgspec

from mlserve.serving.http.replies import Reply, refusal


class Action(Enum):
    """What a request asks for."""

    SERVER = auto()
    LIVE = auto()
    READY = auto()
    MODELS = auto()
    MODEL = auto()
    MODEL_READY = auto()
    INFER = auto()
    INDEX = auto()
    METRICS = auto()


class Route(msgspec.Struct, gc=False, frozen=True):
    """An action, and the model and version it is about."""

    action: Action
    model: str = ""
    version: int | None = None


_READS = (b"GET", b"HEAD")
_FIXED = {
    "/v2": (Action.SERVER, _READS),
    "/v2/": (Action.SERVER, _READS),
    "/v2/health/live": (Action.LIVE, _READS),
    "/v2/health/ready": (Action.READY, _READS),
    "/v2/models": (Action.MODELS, _READS),
    "/metrics": (Action.METRICS, _READS),
    "/v2/repository/index": (Action.INDEX, (b"POST",)),
}
_OF_MODEL = {
    (): (Action.MODEL, _READS),
    ("ready",): (Action.MODEL_READY, _READS),
    ("infer",): (Action.INFER, (b"POST",)),
}
_MAX_VERSION_DIGITS = 18


def route_of(method: bytes, target: bytes) -> Route | Reply:
    """What ``method`` on ``target`` asks for, or the refusal: 404 for no such path, 405 with ``Allow`` for the method.

    ``target`` is the request line's, percent-encoded; a query is ignored, an absolute URL is taken for its path.

    >>> route_of(b"POST", b"/v2/models/my%20model/versions/7/infer").version
    7
    """
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        _, _, rest = path.partition(b"://")
        path = b"/" + rest.partition(b"/")[2]
    found = _FIXED.get(path.decode("latin-1")) or _model_route(path)
    if found is None:
        return refusal(HTTPStatus.NOT_FOUND)
    what, methods = found
    if method not in methods:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, headers=b"allow: %b\r\n" % b", ".join(methods))
    return what if isinstance(what, Route) else Route(what)


def _model_route(path: bytes) -> tuple[Route, tuple[bytes, ...]] | None:
    # Split first, decode then: a name may hold an encoded slash.
    parts = path.split(b"/")
    if parts[:3] != [b"", b"v2", b"models"] or len(parts) < 4 or not parts[3]:
        return None
    try:
        name, *rest = (unquote_to_bytes(part).decode("utf-8") for part in parts[3:])
    except UnicodeDecodeError:
        return None
    version = None
    if rest[:1] == ["versions"]:
        if len(rest) < 2 or not _is_version(rest[1]):
            return None
        version, rest = int(rest[1]), rest[2:]
    found = _OF_MODEL.get(tuple(rest))
    return None if found is None else (Route(found[0], name, version), found[1])


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_VERSION_DIGITS
