"""What is asked → who answers it: the engine for inference, a document for everything else."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

import msgspec

from mlserve.errors import InvalidInput, NotFound, PayloadTooLarge, Unavailable
from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.http.heads import Head
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.replies import Reply, document
from mlserve.serving.http.routing import Action, Route
from mlserve.serving.oip.decoding import decode_infer
from mlserve.serving.oip.documents import model_metadata, model_names, repository_index, server_metadata
from mlserve.serving.oip.nesting import check_depth
from mlserve.serving.seam import Engine

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


Metrics = Callable[[], Awaitable[bytes]]
"""The text that /metrics answers with."""

_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Answering:
    """Answers requests with an engine. ``clock`` is the loop's, in seconds; without ``metrics`` there are none."""

    __slots__ = ("_clock", "_documents", "_engine", "_later", "_max_body_bytes", "_max_depth", "_max_json_bytes",
                 "_metrics", "_under_way")  # fmt: skip

    def __init__(
        self, engine: Engine, limits: Limits, clock: Callable[[], float], metrics: Metrics | None = None
    ) -> None:
        self._engine = engine
        self._max_body_bytes = limits.max_body_bytes
        self._max_json_bytes = limits.max_json_bytes
        self._max_depth = limits.max_json_depth
        self._clock = clock
        self._documents: dict[Action, Callable[[Route, bytes], Reply]] = {
            Action.SERVER: self._server,
            Action.LIVE: self._live,
            Action.READY: self._ready,
            Action.MODELS: self._models,
            Action.MODEL: self._model,
            Action.MODEL_READY: self._model_ready,
            Action.INDEX: self._index,
        }
        self._later: dict[Action, Callable[[Route, bytes], Awaitable[Reply]]] = {Action.METRICS: self._metrics_text}
        self._metrics = metrics
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Start on a request: afterwards its exchange has a reply, or a ticket and will be delivered to."""
        route = head.route
        try:
            if isinstance(route, Reply):
                exchange.write(route)
            elif head.is_infer:
                self._infer(exchange, head, route, body)
            elif route.action in self._later:
                self._start(exchange, self._later[route.action](route, body))
            else:
                exchange.write(self._documents[route.action](route, body))
        except Exception as error:  # ours become replies; a bug must not cost the client its connection
            exchange.fail(error)

    def _start(self, exchange: Exchange, work: Awaitable[Reply]) -> None:
        """Answer when ``work`` is done; it is finished even if the client has gone by then."""
        task = asyncio.ensure_future(_answer_with(exchange, work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _infer(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        if head.encoding is not None:
            body = inflate(body, self._max_body_bytes)
        json_bytes = len(body) if head.json_bytes is None else head.json_bytes
        if json_bytes > self._max_json_bytes:
            # JSON is read on the event loop: what takes seconds there keeps everybody else waiting.
            raise PayloadTooLarge(
                f"the request has {json_bytes} bytes of JSON, and at most {self._max_json_bytes} are taken: "
                "send large tensors as binary data"
            )
        engine, version = self._engine, route.version
        view = engine.view(route.model, version)
        decoded = decode_infer(view, version, body, head.json_bytes, self._max_depth, self._clock)
        exchange.id = decoded.id
        exchange.wish = decoded.wish
        exchange.ticket = engine.infer(decoded.request, exchange.deliver)

    def _server(self, route: Route, body: bytes) -> Reply:
        return document(server_metadata())

    def _live(self, route: Route, body: bytes) -> Reply:
        if not self._engine.is_live():
            raise Unavailable("the server is not live")
        return document(b'{"live":true}')

    def _ready(self, route: Route, body: bytes) -> Reply:
        if not self._engine.is_ready():
            raise Unavailable("the server is not ready")
        return document(b'{"ready":true}')

    def _models(self, route: Route, body: bytes) -> Reply:
        return document(model_names(self._engine.models()))

    def _model(self, route: Route, body: bytes) -> Reply:
        return document(model_metadata(self._engine.view(route.model, route.version)))

    def _model_ready(self, route: Route, body: bytes) -> Reply:
        if not self._engine.is_ready(route.model, route.version):
            raise Unavailable(f"model '{route.model}' is not ready")
        return document(msgspec.json.encode({"name": route.model, "ready": True}))

    def _index(self, route: Route, body: bytes) -> Reply:
        return document(repository_index(self._engine.models(), only_ready=self._asks_for_ready(body)))

    async def _metrics_text(self, route: Route, body: bytes) -> Reply:
        if self._metrics is None:
            raise NotFound("there are no metrics here", hint="serve.metrics is off")
        return Reply(200, await self._metrics(), content_type=_METRICS_TYPE)

    def _asks_for_ready(self, body: bytes) -> bool:
        if not body.strip():
            return False
        check_depth(body, self._max_depth)
        try:
            return msgspec.json.decode(body, type=_IndexRequest).ready
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput('the body is not JSON such as {"ready": true}') from error


async def _answer_with(exchange: Exchange, work: Awaitable[Reply]) -> None:
    try:
        exchange.write(await work)
    except Exception as error:
        exchange.fail(error)
    exchange.line.finish(exchange)


class _IndexRequest(msgspec.Struct):
    ready: bool = False


def inflate(body: bytes, max_bytes: int) -> bytes:
    """What ``body`` holds, compressed by gzip or zlib. Raises PayloadTooLarge beyond ``max_bytes``, InvalidInput."""
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidInput("the body is not what its content-encoding says") from error
    if len(plain) > max_bytes:
        raise PayloadTooLarge(f"the body inflates to more than {max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("the compressed body ends in the wrong place")
    return plain
