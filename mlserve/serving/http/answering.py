"""What is asked → who answers it: the engine for inference, a document for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import orjson

from mlserve.errors import NotFound, Unavailable, Unsupported
from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.http.heads import Head
from mlserve.serving.http.inferring import Inferring
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.offloading import Offload
from mlserve.serving.http.replies import Reply, document
from mlserve.serving.http.routing import Action, Route
from mlserve.serving.oip.control import check_unload, read_index, read_load
from mlserve.serving.oip.documents import (
    model_config,
    model_metadata,
    model_names,
    repository_index,
    server_metadata,
    statistics,
)
from mlserve.serving.seam import Engine, Whole
from mlserve.serving.v1 import codec as v1

Metrics = Callable[[], Awaitable[bytes]]
"""The text that /metrics answers with."""

Shadow = Callable[[str], Awaitable[dict[str, Any]]]
"""What is known of the version of a model that is in shadow. Raises NotFound where there is none."""
Record = Callable[[str, Callable[[], bytes]], Awaitable[bytes]]
"""Takes a model's name and what gives a body of outcomes, beside the loop; answers with JSON."""

_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Answering:
    """Answers requests with an engine. ``clock`` is the loop's, in seconds; without ``metrics`` there are none.

    Without ``offload`` large bodies are read on the loop; without ``record`` no outcomes are taken, and without
    ``shadow`` no model has one. Where there are several processes, ``whole`` is all of them.
    """

    __slots__ = (
        "_adapters",
        "_documents",
        "_engine",
        "_infer",
        "_json",
        "_later",
        "_max_depth",
        "_metrics",
        "_record",
        "_shadow",
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
        shadow: Shadow | None = None,
        record: Record | None = None,
    ) -> None:
        self._engine = engine
        self._shadow = shadow
        self._whole = whole
        self._max_depth = limits.max_json_depth
        inferring = Inferring(engine, limits, clock, offload)
        self._infer = inferring.infer
        self._json = inferring.json
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
            Action.SHADOW: self._shadow_document,
            Action.LOAD: self._load,
            Action.UNLOAD: self._unload,
        }
        if whole is not None:
            self._later |= {
                Action.INDEX: partial(self._index_of, whole),
                Action.STATISTICS: partial(self._statistics_of, whole),
            }
        self._adapters: dict[Action, Callable[[Exchange, Head, Route, bytes], None]] = {
            Action.V1_PREDICT: inferring.predict,
            Action.GENERATE: inferring.generate,
            Action.GENERATE_STREAM: inferring.generate_stream,
        }
        self._metrics = metrics
        self._record = record
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

    def _answer_other(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """Everything but the protocol's own inference: off the hot path."""
        if route.action is Action.OUTCOMES:
            self._start(exchange, self._outcomes(route, partial(self._json, head, body)))
            return
        body = self._json(head, body)
        if route.action in self._later:
            self._start(exchange, self._later[route.action](route, body))
        elif route.action in self._adapters:
            self._adapters[route.action](exchange, head, route, body)
        else:
            exchange.write(self._documents[route.action](route, body))

    async def _outcomes(self, route: Route, read: Callable[[], bytes]) -> Reply:
        model = route.model.partition("@")[0]
        self._engine.is_ready(model, route.version)  # raises for what is not known
        if self._record is None:
            raise Unsupported(
                "this server captures no requests, so there are none to join outcomes to", hint="serve --capture DIR"
            )
        return document(await self._record(model, read))

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

    async def _shadow_document(self, route: Route, body: bytes) -> Reply:
        if self._shadow is None:
            raise NotFound(f"no version of '{route.model}' is in shadow", hint="a registry says what is")
        found = await self._shadow(route.model)
        return document(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))

    async def _metrics_text(self, route: Route, body: bytes) -> Reply:
        if self._metrics is None:
            raise NotFound("there are no metrics here", hint="serve.metrics is off")
        return Reply(200, await self._metrics(), content_type=_METRICS_TYPE)


async def _answer_with(exchange: Exchange, work: Awaitable[Reply]) -> None:
    try:
        exchange.write(await work)
    except Exception as error:
        exchange.fail(error)
    exchange.line.finish(exchange)
