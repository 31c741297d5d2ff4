"""Path and method → what is asked: the Open Inference Protocol with Triton's extensions, KServe's V1, and metrics."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

from mlserve.serving.http.replies import Reply, refusal

Scope = Literal["infer", "manage", "metrics"]


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
    STATISTICS = auto()
    SHADOW = auto()
    CONFIG = auto()
    LOAD = auto()
    UNLOAD = auto()
    V1_MODELS = auto()
    V1_MODEL = auto()
    V1_PREDICT = auto()
    GENERATE = auto()
    GENERATE_STREAM = auto()
    OUTCOMES = auto()
    SHARED_MEMORY = auto()
    SETTINGS = auto()
    OTHER_REPOSITORY = auto()

    @property
    def takes_rows(self) -> bool:
        """Whether the body holds what a model shall answer."""
        return self in _TAKES_ROWS

    @property
    def scope(self) -> Scope | None:
        """What whoever asks must be allowed to do; None may everybody."""
        if self in (Action.LIVE, Action.READY):
            return None
        if self in (Action.LOAD, Action.UNLOAD):
            return "manage"
        return "metrics" if self is Action.METRICS else "infer"


_TAKES_ROWS = frozenset({Action.INFER, Action.V1_PREDICT, Action.GENERATE, Action.GENERATE_STREAM})


class Route(msgspec.Struct, gc=False, frozen=True):
    """An action, and the model and version it is about."""

    action: Action
    model: str = ""
    version: int | None = None


_READS = (b"GET", b"HEAD")
_WRITES = (b"POST",)
_ANY = (*_READS, *_WRITES)
_FIXED = {
    "/v2": (Action.SERVER, _READS),
    "/v2/": (Action.SERVER, _READS),
    "/v2/health/live": (Action.LIVE, _READS),
    "/v2/health/ready": (Action.READY, _READS),
    "/v2/models": (Action.MODELS, _READS),
    "/v2/models/stats": (Action.STATISTICS, _READS),
    "/metrics": (Action.METRICS, _READS),
    "/v2/repository/index": (Action.INDEX, _WRITES),
    "/v2/trace/setting": (Action.SETTINGS, _ANY),
    "/v2/logging": (Action.SETTINGS, _ANY),
    "/v1/models": (Action.V1_MODELS, _READS),
}
_OF_MODEL = {
    (): (Action.MODEL, _READS),
    ("ready",): (Action.MODEL_READY, _READS),
    ("infer",): (Action.INFER, _WRITES),
    ("config",): (Action.CONFIG, _READS),
    ("stats",): (Action.STATISTICS, _READS),
    ("shadow",): (Action.SHADOW, _READS),
    ("generate",): (Action.GENERATE, _WRITES),
    ("generate_stream",): (Action.GENERATE_STREAM, _WRITES),
    ("outcomes",): (Action.OUTCOMES, _WRITES),
    ("trace", "setting"): (Action.SETTINGS, _ANY),
}
_OF_REPOSITORY = {"load": Action.LOAD, "unload": Action.UNLOAD}
_MAX_VERSION_DIGITS = 18


_Found = tuple[Route | Action, tuple[bytes, ...]]


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
    found = _FIXED.get(path.decode("latin-1")) or _below(path)
    if found is None:
        return refusal(HTTPStatus.NOT_FOUND)
    what, methods = found
    if method not in methods:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, headers=b"allow: %b\r\n" % b", ".join(methods))
    return what if isinstance(what, Route) else Route(what)


def _below(path: bytes) -> _Found | None:
    """What stands below a fixed part of the path."""
    # Split first, decode then: a name may hold an encoded slash.
    try:
        parts = [unquote_to_bytes(part).decode("utf-8") for part in path.split(b"/")]
    except UnicodeDecodeError:
        return None
    match parts:
        case ["", "v2", "models", name, *rest] if name:
            return _of_model(name, rest)
        case ["", "v2", "repository", "models", name, verb] if name and verb in _OF_REPOSITORY:
            return Route(_OF_REPOSITORY[verb], name), _WRITES
        case ["", "v2", "repository", _, "index"] | ["", "v2", "repository", _, "models", _, "load" | "unload"]:
            return Action.OTHER_REPOSITORY, _WRITES
        case ["", "v2", "systemsharedmemory" | "cudasharedmemory", *_]:
            return Action.SHARED_MEMORY, _ANY
        case ["", "v1", "models", name] if name.endswith(":predict") and name != ":predict":
            return Route(Action.V1_PREDICT, name.removesuffix(":predict")), _WRITES
        case ["", "v1", "models", name] if name:
            return Route(Action.V1_MODEL, name), _READS
    return None


def _of_model(name: str, rest: list[str]) -> _Found | None:
    version = None
    if rest[:1] == ["versions"]:
        if len(rest) < 2 or not _is_version(rest[1]):
            return None
        version, rest = int(rest[1]), rest[2:]
    found = _OF_MODEL.get(tuple(rest))
    return None if found is None else (Route(found[0], name, version), found[1])


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_VERSION_DIGITS
