"""Closed-loop load: so many clients, each of which sends its next request when the last one is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any, cast

from mlserve.bench.latencies import Latencies
from mlserve.bench.messages import OK, Message, is_same, received
from mlserve.errors import InvalidInput, Unavailable

_FOLD_S = 0.1


@dataclass(frozen=True, slots=True)
class Run:
    """What one run measured. ``errors`` are replies that were missing, not 200, or not the right answer."""

    concurrency: int
    duration_s: float
    requests: int
    errors: int
    rps: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


async def learn(host: str, port: int, requests: Sequence[bytes]) -> list[Message]:
    """Each request with the reply that it gets when it is sent alone.

    Raises Unavailable if nobody answers, InvalidInput if a reply isn't a 200.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise Unavailable(f"nobody answers at {host}:{port}: {error}") from error
    messages = []
    try:
        for request in requests:
            writer.write(request)
            data = b""
            while (reply := received(data)) is None:
                piece = await reader.read(1 << 16)
                if not piece:
                    raise Unavailable(f"{host}:{port} closed the connection in the middle of a reply")
                data += piece
            if reply.status != 200:
                raise InvalidInput(
                    f"{host}:{port} answered {reply.status}: {reply.body[:200].decode(errors='replace')}"
                )
            messages.append(Message(request, b"\r\n\r\n" + reply.body))
    finally:
        writer.close()
        await writer.wait_closed()
    return messages


async def run_closed_loop(
    host: str,
    port: int,
    messages: Sequence[Message],
    *,
    concurrency: int,
    duration_s: float,
    warmup_s: float = 0.0,
) -> Run:
    """Keep ``concurrency`` requests under way for ``duration_s``, after ``warmup_s`` that don't count.

    Raises Unavailable if the clients cannot connect.
    """
    loop = asyncio.get_running_loop()
    load = _Load(messages)
    clients: list[_Client] = []
    try:
        for number in range(concurrency):
            _, client = await loop.create_connection(partial(_Client, load, number), host, port)
            clients.append(client)
    except OSError as error:
        raise Unavailable(f"nobody answers at {host}:{port}: {error}") from error
    for client in clients:
        client.send()
    await _pass(load, warmup_s)
    load.latencies, load.errors = Latencies(), 0
    began_s = perf_counter()
    await _pass(load, duration_s)
    took_s = perf_counter() - began_s
    run = _summary(load, concurrency, took_s)
    load.is_over = True
    for client in clients:
        client.close()
    return run


async def _pass(load: _Load, seconds: float) -> None:
    end_s = perf_counter() + seconds
    while (left_s := end_s - perf_counter()) > 0:
        await asyncio.sleep(min(_FOLD_S, left_s))
        load.latencies.fold()


def _summary(load: _Load, concurrency: int, took_s: float) -> Run:
    requests = load.latencies.count
    p50, p90, p99, p999 = (1e3 * s for s in load.latencies.percentiles_s([0.5, 0.9, 0.99, 0.999]))
    return Run(concurrency, took_s, requests, load.errors, requests / took_s, p50, p90, p99, p999)


class _Load:
    """What the clients of a run share."""

    __slots__ = ("errors", "is_over", "latencies", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.latencies = Latencies()
        self.errors = 0
        self.is_over = False


class _Client(asyncio.Protocol):
    """One client: one request under way at any time."""

    def __init__(self, load: _Load, start: int) -> None:
        self._load = load
        self._at = start % len(load.messages)
        self._message = load.messages[self._at]
        self._transport = cast(asyncio.Transport, None)
        self._data = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._load.is_over:
            self._load.errors += 1

    def close(self) -> None:
        self._transport.abort()

    def send(self) -> None:
        messages = self._load.messages
        self._at = at = self._at + 1 if self._at + 1 < len(messages) else 0
        self._message = message = messages[at]
        self._sent_s = perf_counter()
        self._transport.write(message.request)

    def data_received(self, data: bytes) -> None:
        if self._data:
            data = self._data + data
        ending = self._message.ending
        if ending is None or not data.endswith(ending) or not data.startswith(OK):
            reply = received(data)
            if reply is None:
                self._data = data
                return
            if reply.status != 200 or (ending is not None and not is_same(ending[4:], reply.body)):
                self._load.errors += 1
        self._data = b""
        self._load.latencies.add(perf_counter() - self._sent_s)
        self.send()
