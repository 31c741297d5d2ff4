"""``ModelStreamInfer``: requests come one after another, answers leave as they are ready, each with its request's id.

Errors of one request are parts of the stream and do not end it, unless the metadata says ``triton_grpc_error``.
Source: Triton's ModelStreamInfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlserve.serving.grpc.calls import Call
from mlserve.serving.grpc.decoding import DecodedCall, decode_infer, parse
from mlserve.serving.grpc.encoding import (
    empty_final,
    encode_infer,
    stream_error,
    stream_part,
    unfinished_part,
)
from mlserve.serving.grpc.statuses import status_of
from mlserve.serving.seam import Answer, Engine, Ticket

MAX_UNDER_WAY = 256
"""Requests of one stream that are worked on at a time; more are not read."""

_OVER = object()
"""Nothing more is read."""

_DONE = object()
"""One request has all its answers written, which makes room for another."""


class InferStream:
    """One stream. ``run`` returns when the client has sent all and got all, or raises to end the call."""

    def __init__(self, engine: Engine, context: Any, call: Call, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._context = context
        self._call = call
        self._clock = clock
        self._ends_on_error = call.has("triton_grpc_error")
        self._parts: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Semaphore(MAX_UNDER_WAY)
        self._under_way: dict[int, Ticket] = {}
        self._answering: dict[int, str] = {}
        self._begun = 0
        self._has_all = False

    async def run(self, requests: Any) -> None:
        reading = asyncio.ensure_future(self._read(requests))
        try:
            while True:
                part = await self._parts.get()
                if isinstance(part, Exception):
                    await self._call.fail(part)
                # Not before its answers are written: who sends and never reads must not fill the memory.
                if part is _DONE:
                    self._room.release()
                elif part is not _OVER:
                    await self._context.write(part)
                if self._has_all and not self._under_way and self._parts.empty():
                    return
        finally:
            reading.cancel()
            for ticket in self._under_way.values():
                ticket.cancel()

    def end_when_idle(self) -> None:
        """Take no further requests: the server is leaving."""
        self._finish_reading()

    async def _read(self, requests: Any) -> None:
        try:
            async for data in requests:
                await self._room.acquire()
                if self._has_all:
                    break
                self._begin(data)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._parts.put_nowait(error)
        self._finish_reading()

    def _finish_reading(self) -> None:
        self._has_all = True
        self._parts.put_nowait(_OVER)

    def _begin(self, data: bytes) -> None:
        number = self._begun = self._begun + 1
        id, decoded = "", None
        try:
            message = parse(data)
            id = message.id
            decoded = decode_infer(self._engine, message, self._clock)
            self._call.put_into(decoded.request, self._clock())
            decoded.request.id = id.encode() or b"%b/%x" % (self._call.id.encode(), number)
            self._under_way[number] = self._engine.stream(
                decoded.request,
                lambda part: self._deliver(number, decoded, part),
                lambda error: self._end(number, decoded, error),
            )
        except Exception as error:
            self._refuse(error, id, decoded)
            self._parts.put_nowait(_DONE)

    def _deliver(self, number: int, decoded: DecodedCall, part: Answer | Exception) -> None:
        if isinstance(part, Exception):
            self._end(number, decoded, part)
            return
        self._answering[number] = part.version
        try:
            response = encode_infer(part, decoded.id, decoded.classes)
            # An empty part that is marked as the last one will follow.
            as_part = unfinished_part if decoded.wants_empty_final else stream_part
            self._parts.put_nowait(as_part(response))
        except Exception as error:
            self._refuse(error, decoded.id, decoded)

    def _end(self, number: int, decoded: DecodedCall, error: Exception | None) -> None:
        if self._under_way.pop(number, None) is None:
            return
        version = self._answering.pop(number, str(decoded.request.version or ""))
        if error is not None:
            self._refuse(error, decoded.id, decoded)
        elif decoded.wants_empty_final:
            # The engine may know the version no more.
            self._parts.put_nowait(empty_final(decoded.request.model, version, decoded.id))
        self._parts.put_nowait(_DONE)

    def _refuse(self, error: Exception, id: str, decoded: DecodedCall | None) -> None:
        self._call.model = "" if decoded is None else decoded.request.model
        if self._ends_on_error:
            self._parts.put_nowait(error)
            return
        self._call.note(error)
        _, sentence = status_of(error, id or self._call.id)
        self._parts.put_nowait(stream_error(sentence, id))


class Streams:
    """The streams that are open, so that a server that leaves can end them."""

    def __init__(self) -> None:
        self._open: set[InferStream] = set()
        self._is_leaving = False

    @contextmanager
    def holding(self, stream: InferStream) -> Iterator[None]:
        """While a stream is open."""
        self._open.add(stream)
        if self._is_leaving:
            stream.end_when_idle()
        try:
            yield
        finally:
            self._open.discard(stream)

    def leave(self) -> None:
        """End every stream once what it has under way is answered."""
        self._is_leaving = True
        for stream in self._open:
            stream.end_when_idle()

    @property
    def is_leaving(self) -> bool:
        return self._is_leaving
