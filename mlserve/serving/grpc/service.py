"""The protocol's methods, bytes in and bytes out, each a coroutine on the engine's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from time import monotonic
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mlserve.errors import InvalidInput, MlserveError, Unavailable, Unsupported
from mlserve.protocol.messages import INFERENCE, METHODS, REFUSED, SERVICE, STREAM_METHOD
from mlserve.serving.grpc import documents
from mlserve.serving.grpc.calls import RECEIPT, Call, Calls, Scope
from mlserve.serving.grpc.decoding import DecodedCall, decode_infer, parse, values_of, version_of
from mlserve.serving.grpc.encoding import encode_infer
from mlserve.serving.grpc.settling import Settling
from mlserve.serving.grpc.streams import InferStream, Streams
from mlserve.serving.oip.control import versions_of
from mlserve.serving.oip.receipts import receipt_of
from mlserve.serving.seam import Answer, Engine, Whole

Context = Any
"""grpc.aio.ServicerContext, which has no types of its own."""

Handler = Callable[[bytes, Context], Awaitable[bytes]]


_SCOPES: Mapping[str, Scope | None] = {
    "ServerLive": None,
    "ServerReady": None,
    "RepositoryModelLoad": "manage",
    "RepositoryModelUnload": "manage",
}
"""What a call wants to do, where it is not to infer; None may everybody."""


class InferenceService:
    """Answers calls with an engine. ``clock`` is the loop's, in seconds.

    Where there are several processes, ``whole`` is all of them.
    """

    def __init__(
        self,
        engine: Engine,
        calls: Calls,
        streams: Streams,
        clock: Callable[[], float],
        whole: Whole | None = None,
    ) -> None:
        self._engine = engine
        self._whole = whole
        self._calls = calls
        self._streams = streams
        self._clock = clock
        self._settling = Settling(engine, asyncio.get_running_loop())
        self._under_way: set[asyncio.Task[Any]] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """What grpcio dispatches to; messages stay bytes, which are parsed here."""
        unary: dict[str, Callable[[Any], Any]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda message: documents.server_metadata(),
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._document(name, unary[name])) for name in unary}
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer)
        handlers[STREAM_METHOD] = grpc.stream_stream_rpc_method_handler(self._stream)
        handlers |= {name: grpc.unary_unary_rpc_method_handler(partial(self._refuse, name)) for name in REFUSED}
        assert set(METHODS) <= handlers.keys()
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def _infer(self, data: bytes, context: Context) -> bytes:
        return await self._answer_call(self._calls.begin(context), data)

    async def _answer_call(self, call: Call, data: bytes) -> bytes:
        try:
            call.check("infer")
            message = parse(data)
            decoded = decode_infer(self._engine, message, self._clock)
            call.model = decoded.request.model
            call.name(decoded.id)
            call.put_into(decoded.request, self._clock())
            decoded.request.id = call.id.encode()
            arrived_s = monotonic()
            answer = call.answer = await self._answer(decoded)
            response = encode_infer(answer, decoded.id, decoded.classes)
            if decoded.wants_receipt or call.wants_receipt:
                call.close((RECEIPT, receipt_of(answer, arrived_s, monotonic())))
            else:
                call.close()
            return response
        except Exception as error:
            return await call.fail(error)

    async def _answer(self, decoded: DecodedCall) -> Answer:
        """The engine's answer; a call that is cancelled, or runs out of time, takes its request along."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        ticket = self._settling.infer(decoded.request, partial(_settle, future))
        try:
            return await future
        except asyncio.CancelledError:
            ticket.cancel()
            raise

    async def _stream(self, requests: Any, context: Context) -> None:
        call = self._calls.begin(context)
        try:
            call.check("infer")
        except MlserveError as error:
            await call.fail(error)
            return
        call.close()
        stream = InferStream(self._engine, context, call, self._clock)
        with self._streams.holding(stream):
            await stream.run(requests)

    def _document(self, name: str, answer: Callable[[Any], Any]) -> Handler:
        """A method that takes no rows."""
        request_class = INFERENCE[f"{name}Request"]
        scope = _SCOPES.get(name, "infer")

        async def handle(data: bytes, context: Context) -> bytes:
            call = self._calls.begin(context)
            try:
                if scope is not None:
                    call.check(scope)
                try:
                    message = request_class.FromString(data)
                except DecodeError as error:
                    raise InvalidInput(f"the message is no {name}Request") from error
                response = answer(message)
                if asyncio.iscoroutine(response):
                    response = await self._finished(response)
                call.close()
                serialized: bytes = response.SerializeToString()
                return serialized
            except Exception as error:
                return await call.fail(error)

        return handle

    async def _finished(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What comes of a load or unload, which is done even if the client has gone or runs out of time."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # told to the client if there is one, and in the index

    async def _refuse(self, name: str, data: bytes, context: Context) -> bytes:
        call = self._calls.begin(context)
        return await call.fail(Unsupported(f"{name} is not offered"))

    def _server_live(self, message: Any) -> Any:
        return INFERENCE["ServerLiveResponse"](live=self._engine.is_live())

    def _server_ready(self, message: Any) -> Any:
        return INFERENCE["ServerReadyResponse"](ready=self._engine.is_ready())

    def _model_ready(self, message: Any) -> Any:
        try:
            ready = self._engine.is_ready(message.name, version_of(message.version))
        except Unavailable:
            ready = False
        return INFERENCE["ModelReadyResponse"](ready=ready)

    def _model_metadata(self, message: Any) -> Any:
        return documents.model_metadata(self._engine.view(message.name, version_of(message.version)))

    def _model_config(self, message: Any) -> Any:
        return documents.config(self._engine.view(message.name, version_of(message.version)))

    async def _model_statistics(self, message: Any) -> Any:
        wanted = message.name or None, version_of(message.version)
        found = self._engine.statistics(*wanted) if self._whole is None else await self._whole.statistics(*wanted)
        return documents.statistics_of(found)

    async def _index(self, message: Any) -> Any:
        _check_repository(message)
        found = self._engine.models() if self._whole is None else await self._whole.models()
        return documents.index(found, only_ready=message.ready)

    async def _load(self, message: Any) -> Any:
        _check_repository(message)
        await (self._whole or self._engine).load(message.model_name, versions_of(values_of(message.parameters)))
        return INFERENCE["RepositoryModelLoadResponse"]()

    async def _unload(self, message: Any) -> Any:
        _check_repository(message)
        await (self._whole or self._engine).unload(message.model_name)
        return INFERENCE["RepositoryModelUnloadResponse"]()


def _check_repository(message: Any) -> None:
    if message.repository_name:
        raise Unsupported("there is one repository here, and it has no name")


def _settle(future: asyncio.Future[Answer], outcome: Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
