"""Server reflection, so that tools like grpcurl can list and call what is here without its proto files.

Source: gRPC server reflection protocol (grpc/grpc, doc/server-reflection.md), versions v1 and v1alpha.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mlserve.protocol.messages import (
    FILES,
    HEALTH_SERVICE,
    REFLECTION,
    REFLECTION_SERVICES,
    SERVICE,
    Messages,
    file_with,
)

SERVICES = (SERVICE, HEALTH_SERVICE, *REFLECTION_SERVICES)

Context = Any


def handlers() -> list[grpc.GenericRpcHandler]:
    """One handler a version of the protocol."""
    return [
        grpc.method_handlers_generic_handler(
            service, {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(_answering(REFLECTION[service]))}
        )
        for service in REFLECTION_SERVICES
    ]


def _answering(messages: Messages) -> Callable[[Any, Context], AsyncIterator[bytes]]:
    async def answer(requests: Any, context: Context) -> AsyncIterator[bytes]:
        async for data in requests:
            try:
                request = messages["ServerReflectionRequest"].FromString(data)
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is no ServerReflectionRequest")
            yield respond(messages, request).SerializeToString()

    return answer


def respond(messages: Messages, request: Any) -> Any:
    """The answer to one question."""
    response = messages["ServerReflectionResponse"](valid_host=request.host, original_request=request)
    asked = request.WhichOneof("choice")
    if asked == "list_services":
        for name in SERVICES:
            response.list_services_response.service.add(name=name)
        return response
    file = None
    if asked == "file_by_filename":
        file = FILES.get(request.file_by_filename)
    elif asked == "file_containing_symbol":
        file = file_with(request.file_containing_symbol)
    if file is not None:
        response.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
    else:
        code = grpc.StatusCode.UNIMPLEMENTED if asked is None else grpc.StatusCode.NOT_FOUND
        response.error_response.error_code = code.value[0]
        response.error_response.error_message = "there is no such file, symbol or extension here"
    return response
