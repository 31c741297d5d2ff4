"""The front end on real sockets: listening, timeouts, large bodies, drains."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import uvloop

from mlserve.core.dtypes import DType
from mlserve.core.settings import ServeSettings
from mlserve.errors import Unavailable
from mlserve.serving.http.front import HttpFront
from mlserve.serving.http.limits import Limits, limits_of
from tests.serving.fakes import FakeEngine, doubling, echo
from tests.serving.http.fronts import Front, fronting, read_all, until
from tests.serving.http.wire import GET, message, replies, row


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(doubling())
    engine.add(echo(DType.FLOAT32))
    return engine


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def front(engine: FakeEngine, request: pytest.FixtureRequest) -> Iterator[Front]:
    with fronting(engine, new_loop=request.param) as front:
        yield front


def test_a_plain_client_is_answered(front: Front) -> None:
    client = http.client.HTTPConnection("127.0.0.1", front.port)
    for number in range(3):
        client.request("POST", "/v2/models/fraud/infer", row(number, 0, 0))
        reply = client.getresponse()
        assert reply.status == 200
        assert json.loads(reply.read())["outputs"][0]["data"] == [2 * number, 0, 0]
    client.close()


def test_thousands_of_pipelined_requests_come_back_in_order(front: Front) -> None:
    count = 2000
    with front.connect() as client:
        data = b"".join(message(row(n, 0, 0)) for n in range(count)) + message(b"", "Connection: close")
        writer = threading.Thread(target=client.sendall, args=(data,))
        writer.start()
        found = replies(read_all(client))
        writer.join()

    assert [reply.json["outputs"][0]["data"][0] for reply in found[:-1]] == [2 * n for n in range(count)]
    assert found[-1].status == 400


def test_a_large_tensor_goes_there_and_back(front: Front) -> None:
    array = np.random.default_rng(0).random((500, 2000), dtype=np.float32)
    tensor = {
        "name": "x",
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()

    client = http.client.HTTPConnection("127.0.0.1", front.port)
    client.request(
        "POST", "/v2/models/echo/infer", text + array.tobytes(), {"Inference-Header-Content-Length": str(len(text))}
    )
    reply = client.getresponse()
    body = reply.read()
    client.close()

    assert body[int(reply.headers["inference-header-content-length"]) :] == array.tobytes()


def test_a_refused_upload_is_told_why_although_it_goes_on_sending(engine: FakeEngine) -> None:
    with fronting(engine, Limits(max_body_bytes=1000)) as front, front.connect() as client:
        client.sendall(message(bytes(1 << 22)))
        (reply,) = replies(read_all(client))

    assert reply.status == 413


def test_a_client_that_shuts_its_side_still_reads_its_answers(front: Front) -> None:
    with front.connect() as client:
        client.sendall(message(row(1, 2, 3)) * 3)
        client.shutdown(socket.SHUT_WR)
        found = replies(read_all(client))

    assert [reply.status for reply in found] == [200] * 3


def test_a_client_that_resets_cancels_its_requests(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    client = front.connect()
    client.sendall(message(row(1, 2, 3)) + GET)
    front.on_loop(lambda: until(lambda: bool(engine.tickets)))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    front.on_loop(lambda: until(lambda: engine.tickets[0].deliver is None))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(GET[:9], 408, id="half a head"),
        pytest.param(message(b"abc")[:-1], 408, id="half a body"),
    ],
)
def test_a_client_that_is_too_slow_is_cut(engine: FakeEngine, sent: bytes, status: int | None) -> None:
    limits = Limits(header_timeout_s=0.05, body_timeout_s=0.05, idle_timeout_s=0.05, linger_s=0.05)
    with fronting(engine, limits) as front, front.connect() as client:
        client.sendall(sent)
        found = replies(read_all(client))

    assert [reply.status for reply in found] == ([status] if status else [])


def test_a_client_that_never_reads_is_cut(engine: FakeEngine) -> None:
    limits = Limits(body_timeout_s=0.05)
    body = row(*([0.5] * 30_000)).replace("[1, 30000]", "[10000, 3]")
    with fronting(engine, limits) as front, front.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender = threading.Thread(target=_send_until_cut, args=(client, message(body)))
        sender.start()
        sender.join(60)

        assert not sender.is_alive()
        front.on_loop(lambda: until(lambda: front.front.connections == 0))


def test_a_drain_finishes_what_is_under_way_and_accepts_nobody_new(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    busy, idle = front.connect(), front.connect()
    busy.sendall(message(row(1, 2, 3)))
    front.on_loop(lambda: until(lambda: bool(engine.tickets) and front.front.connections == 2))

    async def drain_and_release() -> int:
        draining = asyncio.create_task(front.front.drain(30, idle_grace_s=0.0))
        await until(lambda: front.front.connections == 1)
        engine.release()
        return await draining

    assert front.on_loop(drain_and_release) == 0
    (reply,) = replies(read_all(busy))
    assert reply.headers["connection"] == "close"
    assert read_all(idle) == b""
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system likes
        front.connect()
    busy.close()
    idle.close()


def test_an_idle_client_may_send_one_more_request_in_a_drain(front: Front) -> None:
    with front.connect() as client:
        client.sendall(GET)
        client.recv(1 << 16)

        async def drain() -> int:
            draining = asyncio.create_task(front.front.drain(30, idle_grace_s=30))
            await asyncio.sleep(0)
            client.sendall(GET)
            return await draining

        assert front.on_loop(drain) == 0
        (reply,) = replies(read_all(client))
        assert reply.headers["connection"] == "close"


def test_a_drain_cuts_who_does_not_finish(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    with front.connect() as client:
        client.sendall(message(row(1, 2, 3)))
        front.on_loop(lambda: until(lambda: bool(engine.tickets)))

        assert front.drain(timeout_s=0.0) == 1
        assert engine.tickets[0].deliver is None


def test_an_address_that_is_taken_is_said(front: Front, engine: FakeEngine) -> None:
    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{front.port}"):
        front.on_loop(lambda: HttpFront(engine).listen("127.0.0.1", front.port))


def test_a_socket_made_elsewhere_can_be_listened_on(front: Front) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))

    address = sock.getsockname()

    end = front.on_loop(lambda: front.front.listen_at(sock))

    with socket.create_connection(address, timeout=30) as client:
        client.sendall(GET)
        assert replies(client.recv(1 << 16))[0].status == 200

    async def end_and_wait() -> None:
        end()
        await until(lambda: is_refused(address))

    front.on_loop(end_and_wait)


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_limits_are_those_of_the_settings() -> None:
    assert limits_of(ServeSettings()) == Limits()
    assert limits_of(ServeSettings(max_body_bytes=7, idle_timeout_s=9.0)) == Limits(
        max_body_bytes=7, idle_timeout_s=9.0
    )


def _send_until_cut(client: socket.socket, data: bytes) -> None:
    try:
        while True:
            client.sendall(data)
    except OSError:
        return
