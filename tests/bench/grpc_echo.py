"""A gRPC server that answers what it was asked, bytes in and out: ``python -m tests.bench.grpc_echo aio|sync PORT``."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from mlserve.bench.grpc_messages import INFER

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def handlers(method: Any) -> Any:
    _, service, name = INFER.split("/")
    return (grpc.method_handlers_generic_handler(service, {name: grpc.unary_unary_rpc_method_handler(method)}),)


async def serve_aio(address: str) -> None:
    async def echo(request: bytes, context: Any) -> bytes:
        return request

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(echo))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


def serve_sync(address: str) -> None:
    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(lambda request, context: request))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    address = f"127.0.0.1:{sys.argv[2]}"
    if sys.argv[1] == "aio":
        asyncio.run(serve_aio(address))
    else:
        serve_sync(address)
