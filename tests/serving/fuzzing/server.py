"""A whole server without sockets: the real engine on real models, asked over either protocol, one hostile thing a time.

hostile bytes ─► the real connection or service ─► a reply that must be a refusal of ours, or an answer
a valid request behind them ─────────────────────► must be answered right
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
import numpy as np

from mlserve.core.dtypes import DType
from mlserve.errors import NotFound
from mlserve.protocol.messages import INFERENCE, SERVICE
from mlserve.serving.grpc.calls import Calls
from mlserve.serving.grpc.service import InferenceService
from mlserve.serving.grpc.streams import Streams
from mlserve.serving.http.heads import Heads
from mlserve.serving.http.limits import Limits
from tests import models
from tests.serving.engines import INLINE, World, loader, wanted
from tests.serving.http.wire import Client, message

DTYPES = [
    DType.FLOAT32, DType.STRING, DType.BOOL, DType.INT8, DType.INT64, DType.UINT64, DType.FLOAT16, DType.FLOAT64,
]  # fmt: skip
"""A type of each kind that is read in a way of its own."""

PROTOS = {str(dtype): models.echo(dtype) for dtype in DTYPES} | {
    "two": models.two_inputs(),
    "mixed": models.mixed_columns(),
    "scalar": models.scalar(),
    "free": models.echo(DType.FLOAT32, ("batch", "length")),
    "m": models.classifier(),
    "texts": models.strings(),
}

CLIENTS_OWN = {501, 504, 505}
"""Statuses of 500 and above that a client brings about: what is not offered, its own time limit, its HTTP version."""

OURS = {
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAVAILABLE,
}  # fmt: skip
"""Codes that no message of a client may bring about."""

_QUICK_TICKS = 100
_TICKS = 2000
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True)
class Reply:
    """A reply taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes


class Aborted(Exception):
    """A call was ended with a status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class Context:
    """What grpcio gives a handler."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._metadata

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def set_trailing_metadata(self, metadata: object) -> None:
        pass

    async def abort(self, code: grpc.StatusCode, details: str, metadata: object) -> None:
        raise Aborted(code, details)


class NoRegistry:
    """Loads nothing: it has version 1 of everything."""

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        if model not in PROTOS or (versions is not None and set(versions) != {1}):
            raise NotFound(f"no versions {versions} of '{model}'")

    async def unload(self, model: str) -> None:
        if model not in PROTOS:
            raise NotFound(f"no model '{model}'")


@dataclass(frozen=True)
class _Call:
    method: str
    invocation_metadata: tuple[()] = ()


class Server:
    """Made once; ``close`` it at the end. Its methods fail if the server breaks a rule, and return what was said."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # Shared by all connections, as a front end does it: what one client sent must not be taken for another's.
        self._heads = Heads(Limits())
        self._world = self._loop.run_until_complete(self._made())

    async def _made(self) -> World:
        protos = {(name, 1): proto for name, proto in PROTOS.items()}
        world = World(list(PROTOS), loader(protos, INLINE), on_demand=NoRegistry())
        await world.repository.apply([wanted(name) for name in PROTOS])
        service = InferenceService(world.engine, Calls("fuzz"), Streams(), self._loop.time)
        self._handler = service.handler()
        return world

    def close(self) -> None:
        self._world.close()
        self._loop.close()

    def post(self, path: str, body: bytes, *lines: bytes) -> Reply:
        """The reply to one request; a valid one follows on the same connection, or on the next if that has ended."""
        head = [f"POST {path} HTTP/1.1".encode(), b"Host: a", *lines, b"Content-Length: %d" % len(body), b"", b""]
        return self._loop.run_until_complete(self._exchanged(b"\r\n".join(head) + body))

    def receive(self, *pieces: bytes) -> list[int]:
        """The statuses of the replies to bytes that may be no request at all; a valid request follows elsewhere."""
        return self._loop.run_until_complete(self._received(pieces))

    def call(self, method: str, data: bytes, metadata: Sequence[tuple[str, str]] = ()) -> bytes | Aborted:
        """The answer to one call, or how it was refused; a valid one follows."""
        return self._loop.run_until_complete(self._called(method, data, metadata))

    async def _exchanged(self, whole: bytes) -> Reply:
        client = self._client()
        client.send(whole)
        if not client.wire.closed and not client.wire.ended:
            client.send(VALID)
            await _until(lambda: _has_last(client) or client.wire.closed or client.wire.ended)
        reply, *others = split(client.wire.written)
        _check_status(reply.status)
        if reply.status >= HTTPStatus.BAD_REQUEST:
            assert json.loads(reply.body)["error"], reply
        if client.wire.closed or client.wire.ended:
            await self._check_fresh()
        else:
            _check_valid(*others)
        client.connection.connection_lost(None)
        return reply

    async def _received(self, pieces: Sequence[bytes]) -> list[int]:
        client = self._client()
        for piece in pieces:
            if not client.wire.closed and not client.wire.ended:
                client.send(piece)
                await asyncio.sleep(0)
        await _until(lambda: not client.connection._queue)
        statuses = [int(found) for found in _STATUS.findall(client.wire.written)]
        for status in statuses:
            _check_status(status)
        await self._check_fresh()
        client.connection.connection_lost(None)
        return statuses

    async def _check_fresh(self) -> None:
        client = self._client()
        client.send(VALID)
        await _until(lambda: _has_last(client))
        _check_valid(*split(client.wire.written))
        client.connection.connection_lost(None)

    def _client(self) -> Client:
        # It takes any engine.
        return Client(self._world.engine, clock_s=self._loop.time(), heads=self._heads)  # type: ignore[arg-type]

    async def _called(self, method: str, data: bytes, metadata: Sequence[tuple[str, str]]) -> bytes | Aborted:
        handler = self._handler.service(_Call(f"/{SERVICE}/{method}"))
        outcome: bytes | Aborted
        try:
            outcome = await handler.unary_unary(data, Context(metadata))
        except Aborted as aborted:
            outcome = aborted
        assert isinstance(outcome, bytes) or outcome.code not in OURS, outcome
        infer = self._handler.service(_Call(f"/{SERVICE}/ModelInfer")).unary_unary
        answer = INFERENCE["ModelInferResponse"].FromString(await infer(VALID_CALL, Context(())))
        assert list(answer.raw_output_contents) == [_ROWS.tobytes()]
        return outcome


def split(data: bytes) -> list[Reply]:
    """Every reply in ``data``, which must hold nothing else."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body, status = b"", int(first.split()[1])
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size, _, data = data.partition(b"\r\n")
                piece, data = data[: int(size, 16)], data[int(size, 16) + 2 :]
                body += piece
                if not piece:
                    break
        elif status >= 200:
            length = int(headers["content-length"])
            body, data = data[:length], data[length:]
            assert len(body) == length
        found.append(Reply(status, headers, body))
    return found


_ROWS = np.float32([[1.5, -2.0]])
_TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]}
VALID = message(
    json.dumps({"inputs": [_TENSOR]}), "mlserve-request-id: last", start="POST /v2/models/float32/infer HTTP/1.1"
)


def _valid_call() -> bytes:
    request = INFERENCE["ModelInferRequest"](model_name="float32")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(_ROWS.tobytes())
    data: bytes = request.SerializeToString()
    return data


VALID_CALL = _valid_call()


def _has_last(client: Client) -> bool:
    return b"mlserve-request-id: last\r\n" in client.wire.written


def _check_status(status: int) -> None:
    assert status < HTTPStatus.INTERNAL_SERVER_ERROR or status in CLIENTS_OWN, status


def _check_valid(reply: Reply) -> None:
    document: Any = json.loads(reply.body)
    assert (reply.status, document["outputs"][0]["data"]) == (200, [1.5, -2.0]), reply


async def _until(holds: Callable[[], bool]) -> None:
    """Until so; a run may be in a lane, which takes a while, but never as long as this waits."""
    for tick in range(_TICKS):
        if holds():
            return
        await asyncio.sleep(0 if tick < _QUICK_TICKS else 0.01)
