"""What is asked → who answers it: the engine for inference, a document for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

import msgspec
import orjson

from mlserve.errors import NotFound, PayloadTooLarge, Unavailable, Unsupported
from mlserve.serving.http.coding import inflate
from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.http.heads import Head
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.offloading import INFLATED_BYTES, JSON_BYTES, Offload, Reading
from mlserve.serving.http.replies import Reply, document
from mlserve.serving.http.routing import Action, Route
from mlserve.serving.http.streaming import EventStream
from mlserve.serving.oip import generate
from mlserve.serving.oip.control import check_unload, read_index, read_load
from mlserve.serving.oip.decoding import Decoded, decode_infer
from mlserve.serving.oip.documents import (
    model_config,
    model_metadata,
    model_names,
    repository_index,
    server_metadata,
    statistics,
)
from mlserve.serving.oip.plans import plan_of
from mlserve.serving.seam import Answer, Engine, InferRequest, ModelView, Whole
from mlserve.serving.v1 import codec as v1

Metrics = Callable[[], Awaitable[bytes]]
"""The text that /metrics answers with."""

_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Answering:
    """Answers requests with an engine. ``clock`` is the loop's, in seconds; without ``metrics`` there are none.

    Without ``offload`` large bodies are read on the loop. Where there are several processes, ``whole`` is all of them.
    """

    __slots__ = (
        "_adapters",
        "_clock",
        "_documents",
        "_engine",
        "_large_json_bytes",
        "_later",
        "_max_body_bytes",
        "_max_depth",
        "_max_json_bytes",
        "_metrics",
        "_offload",
        "_under_way",
        "_whole",
    )

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        clock: Callable[[], float],
        metrics: Metrics | None = None,
        offload: Offload | None = None,
        whole: Whole | None = None,
    ) -> None:
        self._engine = engine
        self._whole = whole
        self._offload = offload
        self._max_body_bytes = limits.max_body_bytes
        self._max_json_bytes = limits.max_json_bytes
        self._large_json_bytes = min(JSON_BYTES, limits.max_json_bytes + 1)
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
            Action.CONFIG: self._config,
            Action.STATISTICS: self._statistics,
            Action.V1_MODELS: self._v1_models,
            Action.V1_MODEL: self._v1_model,
            Action.SHARED_MEMORY: self._refuse_shared_memory,
            Action.SETTINGS: self._refuse_settings,
            Action.OTHER_REPOSITORY: self._refuse_repository,
        }
        self._later: dict[Action, Callable[[Route, bytes], Awaitable[Reply]]] = {
            Action.METRICS: self._metrics_text,
            Action.LOAD: self._load,
            Action.UNLOAD: self._unload,
        }
        if whole is not None:
            self._later |= {
                Action.INDEX: partial(self._index_of, whole),
                Action.STATISTICS: partial(self._statistics_of, whole),
            }
        self._adapters: dict[Action, Callable[[Exchange, Head, Route, bytes], None]] = {
            Action.V1_PREDICT: self._predict,
            Action.GENERATE: self._generate,
            Action.GENERATE_STREAM: self._generate_stream,
        }
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
            else:
                self._answer_other(exchange, head, route, body)
        except Exception as error:  # ours become replies; a bug must not cost the client its connection
            exchange.fail(error)

    def _start(self, exchange: Exchange, work: Awaitable[Reply]) -> None:
        """Answer when ``work`` is done; it is finished even if the client has gone by then."""
        task = asyncio.ensure_future(_answer_with(exchange, work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _infer(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        json_bytes = head.json_bytes
        if head.encoding is not None or (len(body) if json_bytes is None else json_bytes) >= self._large_json_bytes:
            self._infer_carefully(exchange, head, route, body)
            return
        version = route.version
        view = self._engine.view(route.model, version)
        if view.name != route.model:  # NAME@STAGE, which means the version that stands there
            version = int(view.version)
        self._admit(exchange, head, decode_infer(view, version, body, json_bytes, self._max_depth, self._clock))

    def _infer_carefully(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """A body with much JSON, or compressed: read beside the loop where that takes a while."""
        if head.encoding is None:
            # A length of the JSON beyond the body is no length at all, which the decoder says.
            self._check_json(len(body) if head.json_bytes is None else min(len(body), head.json_bytes))
        view = self._engine.view(route.model, route.version)
        version = route.version if view.name == route.model else int(view.version)
        read = partial(self._read, view, version, head, body)
        if self._offload is None or (head.encoding is not None and len(body) < INFLATED_BYTES):
            self._admit(exchange, head, read())
            return
        ticket = exchange.ticket = Reading()
        plan_of(view)  # once a version, and not by two threads

        def go_on(outcome: Decoded | Exception) -> None:
            if ticket.is_cancelled:
                return
            exchange.ticket = None
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                self._admit(exchange, head, outcome)
            except Exception as error:
                exchange.fail(error)
                exchange.line.finish(exchange)

        self._offload.run(read, go_on)

    def _read(self, view: ModelView, version: int | None, head: Head, body: bytes) -> Decoded:
        """Inflate and decode. Touches nothing that the loop's thread may be at."""
        if head.encoding is not None:
            most = self._max_body_bytes
            body = inflate(body, most if head.json_bytes is not None else min(most, self._max_json_bytes))
            self._check_json(min(len(body), head.json_bytes or 0))
        return decode_infer(view, version, body, head.json_bytes, self._max_depth, self._clock)

    def _admit(self, exchange: Exchange, head: Head, decoded: Decoded) -> None:
        exchange.id = decoded.id
        exchange.wish = decoded.wish
        request = decoded.request
        if head.unit_key is not None and request.unit_key is None:
            request.unit_key = head.unit_key
        if decoded.wants_receipt or head.wants_receipt:
            exchange.receipt_from_s = monotonic()
        if exchange.common.names_requests:
            request.id = exchange.request_id
        exchange.ticket = self._engine.infer(request, exchange.deliver)

    def _answer_other(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """Everything but the protocol's own inference: off the hot path."""
        body = self._json(head, body)
        if route.action in self._later:
            self._start(exchange, self._later[route.action](route, body))
        elif route.action in self._adapters:
            self._adapters[route.action](exchange, head, route, body)
        else:
            exchange.write(self._documents[route.action](route, body))

    def _json(self, head: Head, body: bytes) -> bytes:
        """A body that is JSON throughout, inflated. Raises InvalidInput, PayloadTooLarge."""
        if head.encoding is not None and body:
            return inflate(body, min(self._max_json_bytes, self._max_body_bytes))
        self._check_json(len(body))
        return body

    def _check_json(self, json_bytes: int) -> None:
        # Most JSON is read with the interpreter's lock held: what takes seconds keeps everybody else waiting.
        if json_bytes > self._max_json_bytes:
            raise PayloadTooLarge(
                f"the request has {json_bytes} bytes of JSON, and at most {self._max_json_bytes} are taken: "
                "send large tensors as binary data"
            )

    def _predict(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        view = self._engine.view(route.model)
        request, is_columnar = v1.decode_predict(view, body, self._max_depth)
        request.unit_key = head.unit_key
        if view.name != route.model:
            request.version = int(view.version)
        if head.wants_receipt:
            exchange.receipt_from_s = monotonic()
        request.id = exchange.request_id
        encode = partial(v1.encode_predictions, is_columnar=is_columnar)
        exchange.ticket = self._engine.infer(request, partial(_deliver_as, exchange, encode))

    def _generate(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        request = self._generate_request(exchange, head, route, body)
        exchange.ticket = self._engine.infer(request, partial(_deliver_as, exchange, generate.encode_generated))

    def _generate_stream(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        request = self._generate_request(exchange, head, route, body)
        stream = EventStream(exchange)
        exchange.ticket = self._engine.stream(request, stream.deliver, stream.end)

    def _generate_request(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> InferRequest:
        view = self._engine.view(route.model, route.version)
        version = route.version if view.name == route.model else int(view.version)
        decoded = generate.decode_generate(view, version, body, self._max_depth, self._clock)
        request, exchange.id = decoded.request, decoded.id
        request.unit_key = request.unit_key or head.unit_key
        if decoded.wants_receipt or head.wants_receipt:
            exchange.receipt_from_s = monotonic()
        request.id = exchange.request_id
        return request

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
        only_ready = read_index(body, self._max_depth).ready
        return document(repository_index(self._engine.models(), only_ready=only_ready))

    def _config(self, route: Route, body: bytes) -> Reply:
        return document(orjson.dumps(model_config(self._engine.view(route.model, route.version))))

    def _statistics(self, route: Route, body: bytes) -> Reply:
        return document(orjson.dumps(statistics(self._engine.statistics(route.model or None, route.version))))

    async def _index_of(self, whole: Whole, route: Route, body: bytes) -> Reply:
        only_ready = read_index(body, self._max_depth).ready
        return document(repository_index(await whole.models(), only_ready=only_ready))

    async def _statistics_of(self, whole: Whole, route: Route, body: bytes) -> Reply:
        return document(orjson.dumps(statistics(await whole.statistics(route.model or None, route.version))))

    async def _load(self, route: Route, body: bytes) -> Reply:
        await (self._whole or self._engine).load(route.model, read_load(body, self._max_depth))
        return document(b"")

    async def _unload(self, route: Route, body: bytes) -> Reply:
        check_unload(body, self._max_depth)
        await (self._whole or self._engine).unload(route.model)
        return document(b"")

    def _v1_models(self, route: Route, body: bytes) -> Reply:
        return document(v1.model_names(list(dict.fromkeys(status.name for status in self._engine.models()))))

    def _v1_model(self, route: Route, body: bytes) -> Reply:
        return document(orjson.dumps({"name": route.model, "ready": self._engine.is_ready(route.model)}))

    def _refuse_shared_memory(self, route: Route, body: bytes) -> Reply:
        raise Unsupported("shared memory is not offered")

    def _refuse_settings(self, route: Route, body: bytes) -> Reply:
        raise Unsupported("tracing and logging have no settings here that a client could change")

    def _refuse_repository(self, route: Route, body: bytes) -> Reply:
        raise Unsupported("there is one repository here, and it has no name")

    async def _metrics_text(self, route: Route, body: bytes) -> Reply:
        if self._metrics is None:
            raise NotFound("there are no metrics here", hint="serve.metrics is off")
        return Reply(200, await self._metrics(), content_type=_METRICS_TYPE)


def _deliver_as(exchange: Exchange, encode: Callable[[Answer], bytes], outcome: Answer | Exception) -> None:
    """Write an answer in another protocol's words."""
    exchange.ticket = None
    try:
        if isinstance(outcome, Exception):
            exchange.fail(outcome)
        else:
            text = encode(outcome)  # before the receipt, which says how long that took
            exchange.write(Reply(200, text, exchange.receipt(outcome)))
    except Exception as error:
        exchange.fail(error)
    exchange.line.finish(exchange)


async def _answer_with(exchange: Exchange, work: Awaitable[Reply]) -> None:
    try:
        exchange.write(await work)
    except Exception as error:
        exchange.fail(error)
    exchange.line.finish(exchange)
