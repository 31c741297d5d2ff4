"""Clients that ask for more than is theirs: memory, time on the loop, names in the metrics, room in the queue."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from mlserve.core.dtypes import DType
from mlserve.errors import Unauthenticated
from mlserve.serving.http.front import HttpFront
from mlserve.serving.http.heads import Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.reading import RequestReader
from mlserve.serving.http.replies import Reply
from mlserve.serving.security.tls import TlsFiles, server_context
from tests.serving.fakes import FakeEngine, FakeModel, echo, view_of
from tests.serving.http.fronts import fronting, read_all, until
from tests.serving.http.wire import GET, INFER, Client, Wire, message, replies, row
from tests.serving.security.certificates import Authority

LOAD = "POST /v2/repository/models/fraud/load HTTP/1.1"


def refusing(scope: str, headers: Mapping[str, str]) -> None:
    raise Unauthenticated("an API key is needed")


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"Content-Length: 100000000\r\n\r\n", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n100000\r\n", id="chunked"),
    ],
)
def test_who_may_not_ask_is_told_so_before_the_body_is_read(framing: bytes) -> None:
    limits = Limits()
    reader = RequestReader(limits, Heads(limits, refusing))

    reader.feed(f"POST {INFER} HTTP/1.1\r\nHost: a\r\n".encode() + framing)

    reply = reader.take()
    assert isinstance(reply, Reply)
    assert (reply.status, reply.is_last) == (401, True)


def test_a_short_body_of_who_may_not_ask_leaves_the_connection_as_it_was() -> None:
    limits = Limits()
    reader = RequestReader(limits, Heads(limits, refusing))

    reader.feed(message(b"x" * 100) + GET)

    first, second = reader.take(), reader.take()
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)


@pytest.mark.parametrize(
    "start",
    [LOAD, "POST /v2/repository/index HTTP/1.1", f"POST {INFER} HTTP/1.1", "POST /v1/models/fraud:predict HTTP/1.1"],
)
def test_no_route_reads_more_json_than_is_allowed(engine: FakeEngine, start: str) -> None:
    client = Client(engine, Limits(max_json_bytes=1000))

    client.send(message(b" " * 1001, start=start))
    client.send(message(gzip.compress(b" " * 100_000), "Content-Encoding: gzip", start=start))

    assert [reply.status for reply in client.took()] == [413, 413]


def test_a_load_may_come_compressed(engine: FakeEngine) -> None:
    async def ask() -> list[int]:
        client = Client(engine)
        client.send(message(gzip.compress(b'{"versions": [7]}'), "Content-Encoding: gzip", start=LOAD))
        await asyncio.sleep(0.01)
        return [reply.status for reply in client.took()]

    assert asyncio.run(ask()) == [200]
    assert engine.loads == [("fraud", [7])]


@pytest.mark.parametrize("versions", ['"12"', "[99999999999999999999]"])
def test_versions_that_no_registry_can_hold_are_refused(engine: FakeEngine, versions: str) -> None:
    async def ask() -> list[int]:
        client = Client(engine)
        client.send(message(f'{{"parameters": {{"versions": {versions}}}}}', start=LOAD))
        await asyncio.sleep(0.01)
        return [reply.status for reply in client.took()]

    assert asyncio.run(ask()) == [400]
    assert engine.loads == []


def test_names_that_clients_make_up_never_become_labels(engine: FakeEngine) -> None:
    with fronting(engine, Limits(max_json_bytes=1000)) as front, front.connect() as client:
        for number in range(3):
            name = f"made-up-{number}"
            client.sendall(message(b"x" * 1001, start=f"POST /v2/models/{name}/infer HTTP/1.1"))
            client.sendall(message("[]", start=f"POST /v2/repository/models/{name}/load HTTP/1.1"))
        client.sendall(message(b"x" * 1001) + message("[]", "Connection: close", start=LOAD))
        statuses = [reply.status for reply in replies(read_all(client))]
        failures = dict(front.front.failures)

    assert statuses == [413, 400] * 4
    assert {model for model, _ in failures} == {"", "fraud"}


@pytest.mark.parametrize("lines", [[], ["Connection: close"]])
def test_a_client_that_has_gone_keeps_no_room_however_it_wanted_to_end(engine: FakeEngine, lines: list[str]) -> None:
    client = Client(engine, Limits(half_close_s=0.25))
    client.send(message(row(1, 2, 3), *lines))

    client.connection.eof_received()
    client.connection.expire(0.0)
    client.connection.expire(1.0)

    assert client.wire.aborted
    client.connection.connection_lost(None)
    assert engine.tickets[0].deliver is None


def test_a_client_that_closes_over_tls_has_gone(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wire, "can_write_eof", lambda self: False)
    client = Client(engine)
    client.send(message(row(1, 2, 3)))

    # asyncio and uvloop warn, once a client, of an answer other than this one.
    assert not client.connection.eof_received()


def test_a_reader_that_keeps_up_is_not_cut_when_more_answers_come(engine: FakeEngine) -> None:
    client = Client(engine, Limits(body_timeout_s=2))
    client.connection.pause_writing()

    for second in range(12):
        # Each second another answer of 4 MB, and half a megabyte read.
        client.wire.unread = (second + 1) * (4 << 20) - second * (1 << 19)
        client.connection.expire(float(second))
        client.wire.unread -= 1 << 19
        client.connection.expire(second + 0.5)

    assert not client.wire.aborted


def test_more_clients_than_allowed_are_told_to_come_back(engine: FakeEngine) -> None:
    with fronting(engine, Limits(max_connections=2)) as front:
        first, second = front.connect(), front.connect()
        with first, second:
            for client in (first, second):
                client.sendall(GET)
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")
            with front.connect() as third:
                (refused,) = replies(read_all(third))
        assert (refused.status, refused.headers["retry-after"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "1")
        front.on_loop(lambda: until(lambda: not front.front.connections))
        with front.connect() as again:
            again.sendall(GET)
            assert again.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_never_finishes_its_handshake_is_cut(engine: FakeEngine, tmp_path: Path) -> None:
    context = server_context(TlsFiles(*Authority(tmp_path).issue("server")))
    with fronting(engine) as front:

        async def listen() -> int:
            ((_, port),) = await secure.listen(tls=context)
            return port

        secure = HttpFront(engine, Limits(header_timeout_s=0.1))
        port = front.on_loop(listen)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            assert read_all(client) == b""
        front.on_loop(lambda: secure.drain(0.0))


def test_a_client_that_never_says_goodbye_over_tls_holds_up_no_drain(engine: FakeEngine, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = server_context(TlsFiles(*authority.issue("server")))
    with fronting(engine) as front:

        async def listen() -> int:
            ((_, port),) = await secure.listen(tls=context)
            return port

        secure = HttpFront(engine, Limits(linger_s=0.1))
        port = front.on_loop(listen)
        trusting = ssl.create_default_context(cafile=str(authority.file))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            trusting.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"nonsense\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
            assert front.on_loop(lambda: secure.drain(20.0)) == 0


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_an_id_that_is_no_text_is_refused(verb: str) -> None:
    async def ask() -> list[int]:
        engine = FakeEngine()
        engine.add(echo(DType.FLOAT32, name="m"))
        client = Client(engine)
        client.send(message(json.dumps({"x": [1.0], "id": "\ud800"}), start=f"POST /v2/models/m/{verb} HTTP/1.1"))
        await asyncio.sleep(0.01)
        return [reply.status for reply in client.took()]

    assert asyncio.run(ask()) == [400]


def test_outputs_that_are_no_rows_together_are_refused_as_rows() -> None:
    view = view_of(
        {"x": (DType.FLOAT32, ("n",))},
        {"y": (DType.FLOAT32, ("n",)), "total": (DType.FLOAT32, (1,))},
        is_batchable=False,
    )
    engine = FakeEngine(held=True)
    engine.add(FakeModel(view, lambda inputs: {"y": inputs["x"], "total": inputs["x"].sum(keepdims=True)}))
    client = Client(engine)

    for body in ('{"instances": [1, 2]}', '{"inputs": [1, 2]}'):
        client.send(message(body, start="POST /v1/models/fraud:predict HTTP/1.1"))
        engine.release()

    by_rows, by_columns = client.took()
    assert by_rows.status == 400
    assert by_columns.json == {"outputs": {"y": [1.0, 2.0], "total": [3.0]}}


def test_generate_writes_what_is_not_finite_as_bare_tokens(engine: FakeEngine) -> None:
    client = Client(engine)
    body: dict[str, Any] = {"x": [float("nan"), 1.5]}

    client.send(message(json.dumps(body), start="POST /v2/models/echo/generate HTTP/1.1"))
    engine.release()

    assert client.took()[0].body.endswith(b'"y":[NaN,1.5]}')


def test_generate_writes_the_shortest_text_of_the_output_s_own_type(engine: FakeEngine) -> None:
    client = Client(engine)

    client.send(message('{"x": [0.1, 0.2]}', start="POST /v2/models/echo/generate HTTP/1.1"))
    engine.release()

    assert client.took()[0].body.endswith(b'"y":[0.1,0.2]}')  # not 0.10000000149011612
