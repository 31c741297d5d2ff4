"""gRPC's own health check, of the server ("", or the service's name) and of each model by its name.

Source: gRPC health checking protocol (grpc/grpc, doc/health-checking.md).
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mlserve.errors import MlserveError, NotFound
from mlserve.protocol.messages import HEALTH, HEALTH_SERVICE, SERVICE
from mlserve.serving.grpc.calls import Calls
from mlserve.serving.grpc.streams import Streams
from mlserve.serving.seam import Engine

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
_LOOK_S = 0.5
"""How often a watched status is looked at."""

Context = Any


class HealthService:
    """Answers ``Check``, ``Watch`` and ``List``."""

    def __init__(self, engine: Engine, calls: Calls, streams: Streams) -> None:
        self._engine = engine
        self._calls = calls
        self._streams = streams

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
                "List": grpc.unary_unary_rpc_method_handler(self._list),
            },
        )

    def status(self, service: str) -> int:
        """SERVING, NOT_SERVING or SERVICE_UNKNOWN."""
        try:
            is_ready = self._engine.is_ready() if service in ("", SERVICE) else self._engine.is_ready(service)
        except NotFound:
            return SERVICE_UNKNOWN
        except MlserveError:
            return NOT_SERVING
        return SERVING if is_ready else NOT_SERVING

    async def _check(self, data: bytes, context: Context) -> bytes:
        status = self.status(await self._service(data, context))
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service or model")
        return _response(status)

    async def _watch(self, data: bytes, context: Context) -> None:
        service = await self._service(data, context)
        told: int | None = None
        while True:
            status = self.status(service)
            if status != told:
                told = status
                await context.write(_response(status))
            if self._streams.is_leaving:
                return
            await asyncio.sleep(_LOOK_S)

    async def _list(self, data: bytes, context: Context) -> bytes:
        await self._check_allowed(context)
        names = ("", SERVICE, *dict.fromkeys(status.name for status in self._engine.models()))
        message = HEALTH["HealthListResponse"]()
        for name in names:
            message.statuses[name].status = self.status(name)
        serialized: bytes = message.SerializeToString()
        return serialized

    async def _service(self, data: bytes, context: Context) -> str:
        try:
            service: str = HEALTH["HealthCheckRequest"].FromString(data).service
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is no HealthCheckRequest")
            raise
        if service not in ("", SERVICE):
            await self._check_allowed(context)
        return service

    async def _check_allowed(self, context: Context) -> None:
        """What models there are is told to those only who may ask them; over HTTP it is the same."""
        call = self._calls.begin(context)
        try:
            call.check("infer")
        except MlserveError as error:
            await call.fail(error)


def _response(status: int) -> bytes:
    serialized: bytes = HEALTH["HealthCheckResponse"](status=status).SerializeToString()
    return serialized
