"""A real front end on a real port, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import uvloop

from mlserve.serving.http.front import HttpFront
from mlserve.serving.http.limits import Limits
from mlserve.serving.seam import Engine

T = TypeVar("T")


class Front:
    """``front`` listens on ``port``; ``on_loop`` runs a coroutine where it lives."""

    def __init__(self, front: HttpFront, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.front = front
        self.port = port
        self._loop = loop

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def on_loop(self, work: Callable[[], Awaitable[T]], timeout_s: float = 60.0) -> T:
        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout_s)

    def drain(self, timeout_s: float = 10.0, idle_grace_s: float = 0.0) -> int:
        return self.on_loop(lambda: self.front.drain(timeout_s, idle_grace_s=idle_grace_s))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def fronting(
    engine: Engine | Callable[[], Awaitable[Engine]],
    limits: Limits | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> Iterator[Front]:
    """A front end for ``engine``, or for the one that is made on its loop; drained at the end."""
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever, name="front")
    thread.start()
    try:

        async def listen() -> Front:
            front = HttpFront(await engine() if callable(engine) else engine, limits)
            ((_, port),) = await front.listen("127.0.0.1", 0)
            return Front(front, port, loop)

        found = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
        yield found
        found.drain(timeout_s=0.0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes its side."""
    data = b""
    while piece := client.recv(1 << 16):
        data += piece
    return data


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until ``holds``; the test's own timeout is the limit."""
    while not holds():
        await asyncio.sleep(0.001)
