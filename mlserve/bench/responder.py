"""A server that answers everything at once with the same bytes: what is left is what the generator itself can do.

In a process of its own, ``python -m mlserve.bench.responder``: sizes and reply come on stdin, the port goes to stdout.
"""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from mlserve.bench import http2
from mlserve.errors import Unavailable

HOST = "127.0.0.1"
_SIZES = struct.Struct("<QQ?")


@contextmanager
def responding(request_bytes: int, reply: bytes, *, is_grpc: bool = False) -> Iterator[int]:
    """The port where every ``request_bytes`` bytes, or every gRPC call, are answered with ``reply``.

    Raises Unavailable.
    """
    command = [sys.executable, "-m", "mlserve.bench.responder"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(_SIZES.pack(request_bytes, len(reply), is_grpc) + reply)
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise Unavailable("the constant responder did not start")
            yield int(line)
        finally:
            process.kill()


class Constant(asyncio.Protocol):
    """One connection: each ``request_bytes`` bytes are answered with ``reply``."""

    def __init__(self, request_bytes: int, reply: bytes) -> None:
        self._request_bytes = request_bytes
        self._reply = reply
        self._received = 0
        self._transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        while self._received >= self._request_bytes:
            self._received -= self._request_bytes
            self._transport.write(self._reply)


class ConstantGrpc(asyncio.Protocol):
    """One connection of gRPC clients: each call is answered with the message ``reply`` as soon as it is whole."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._received = b""
        self._is_greeted = False
        self._taken_bytes = 0
        self._transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(http2.opening())

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        start = 0
        if not self._is_greeted:
            if len(data) < len(http2.PREFACE):
                self._received = data
                return
            self._is_greeted, start = True, len(http2.PREFACE)
        out: list[bytes] = []
        rest = data[start:]
        for found in http2.frames(rest):
            if isinstance(found, int):
                self._received = rest[found:]
            else:
                out += self._answers(*found)
        self._transport.write(b"".join(out))

    def _answers(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterator[bytes]:
        if kind == http2.SETTINGS and not flags & http2.ACK:
            yield http2.frame(http2.SETTINGS, http2.ACK, 0)
        if kind != http2.DATA:
            return
        self._taken_bytes += len(payload)
        if self._taken_bytes > http2.LARGEST_WINDOW // 4:
            yield http2.window_update(0, self._taken_bytes)
            self._taken_bytes = 0
        if flags & http2.END_STREAM:
            yield http2.frame(http2.HEADERS, http2.END_HEADERS, stream, http2.reply_headers())
            yield http2.frame(http2.DATA, 0, stream, self._reply)
            end = http2.END_HEADERS | http2.END_STREAM
            yield http2.frame(http2.HEADERS, end, stream, http2.reply_trailers())


async def _serve(request_bytes: int, reply: bytes, *, is_grpc: bool) -> None:
    loop = asyncio.get_running_loop()

    def connection() -> asyncio.Protocol:
        return ConstantGrpc(reply) if is_grpc else Constant(request_bytes, reply)

    server = await loop.create_server(connection, HOST, 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Answer until killed."""
    request_bytes, reply_bytes, is_grpc = _SIZES.unpack(sys.stdin.buffer.read(_SIZES.size))
    reply = sys.stdin.buffer.read(reply_bytes)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(request_bytes, reply, is_grpc=is_grpc))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # not made for Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    main()
