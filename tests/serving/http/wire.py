"""What tests of connections stand on: a transport that keeps what is written, and replies taken apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlserve.serving.http.answering import Answering
from mlserve.serving.http.connection import Connection
from mlserve.serving.http.exchanges import Common
from mlserve.serving.http.heads import Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.offloading import Offload
from mlserve.serving.http.replies import StatusLines
from tests.serving.fakes import FakeEngine

INFER = "/v2/models/fraud/infer"


@dataclass
class Parsed:
    """A reply: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def replies(data: bytes, *, heads_only: bool = False) -> list[Parsed]:
    """Every reply in ``data``, which must hold nothing else. Interim replies have no body."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        length = 0 if status < 200 or heads_only else int(headers["content-length"])
        assert len(data) >= length, "a reply is shorter than its length"
        found.append(Parsed(status, headers, data[:length]))
        data = data[length:]
    return found


def message(body: bytes | str = b"", *lines: str, start: str = f"POST {INFER} HTTP/1.1") -> bytes:
    """A request with a Host, and a Content-Length for its body."""
    text = body.encode() if isinstance(body, str) else body
    head = [start, "Host: test", *lines, f"Content-Length: {len(text)}", "", ""]
    return "\r\n".join(head).encode() + text


def row(*values: float, **fields: Any) -> str:
    """The body of a request for one row."""
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}
    return json.dumps({"inputs": [tensor], **fields})


GET = b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport without a socket. What is written is ``sent``; ``unread`` is what the client has not taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unread = 0
        self.reads = True
        self.ended = False
        self.closed = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        assert not self.closed
        self.written += bytes(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread


class Client:
    """A connection to ``engine`` over a ``Wire``; the engine is held, so that the test says when it answers."""

    def __init__(
        self,
        engine: FakeEngine,
        limits: Limits | None = None,
        *,
        clock_s: float = 0.0,
        offload: Offload | None = None,
        heads: Heads | None = None,
    ) -> None:
        self.engine = engine
        self.wire = Wire()
        self.common = Common(StatusLines(0.0), b"test", offload=offload)
        limits = limits or Limits()
        answering = Answering(engine, limits, lambda: clock_s, offload=offload)
        self.lost: list[Connection] = []
        self.connection = Connection(
            answering, self.common, limits, heads or Heads(limits), lambda connection: None, self.lost.append
        )
        self.connection.connection_made(self.wire)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)

    def took(self, **how: Any) -> list[Parsed]:
        """The replies since the last call."""
        written, self.wire.written = self.wire.written, b""
        return replies(written, **how)


def data_of(body: bytes) -> list[float]:
    found: list[float] = json.loads(body)["outputs"][0]["data"]
    return found
