"""A real gRPC front end on a real port, on a loop in a thread of its own, and calls of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import uvloop

from mlserve.protocol.messages import SERVICE
from mlserve.serving.grpc.front import GrpcFront
from mlserve.serving.seam import Engine


class Front:
    """``front`` listens on ``port``; ``on_loop`` runs a coroutine where it lives."""

    def __init__(self, front: GrpcFront, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.front = front
        self.address = f"127.0.0.1:{port}"
        self._loop = loop

    def on_loop(self, work: Callable[[], Awaitable[Any]], timeout_s: float = 60.0) -> Any:
        async def run() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout_s)

    def call(self, method: str, data: bytes = b"", *, service: str = SERVICE, **how: Any) -> bytes:
        """One call, bytes in and out."""
        with grpc.insecure_channel(self.address) as channel:
            answer: bytes = channel.unary_unary(f"/{service}/{method}")(data, timeout=30, **how)
        return answer


@contextmanager
def fronting(engine: Engine | Callable[[], Awaitable[Engine]], **options: Any) -> Iterator[Front]:
    """A front end for ``engine``, or for the one that is made on its loop; drained at the end."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="front")
    thread.start()
    try:

        async def listen() -> Front:
            front = GrpcFront(await engine() if callable(engine) else engine, **options)
            return Front(front, await front.listen("127.0.0.1", 0), loop)

        found = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
        yield found
        found.on_loop(lambda: found.front.drain(0.0))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
