"""The load generator counts what is answered, and what is answered wrongly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mlserve.bench.load import learn, run_closed_loop
from mlserve.bench.messages import Message, post_json
from mlserve.errors import InvalidInput, Unavailable
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.http.fronts import Front, fronting

HOST = "127.0.0.1"


@pytest.fixture
def front() -> Iterator[Front]:
    engine = FakeEngine()
    engine.add(doubling())
    with fronting(engine) as front:
        yield front


def ask(front: Front, *rows: float, model: str = "fraud") -> list[bytes]:
    tensors = [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [value] * 3} for value in rows]
    return [post_json(HOST, front.port, f"/v2/models/{model}/infer", {"inputs": [tensor]}) for tensor in tensors]


async def measure(front: Front, messages: list[Message], concurrency: int = 3) -> dict[str, float]:
    run = await run_closed_loop(HOST, front.port, messages, concurrency=concurrency, duration_s=0.2, warmup_s=0.05)
    return run.to_dict()


def test_right_answers_are_counted_and_timed(front: Front) -> None:
    messages = asyncio.run(learn(HOST, front.port, ask(front, 1, 2, 3)))

    found = asyncio.run(measure(front, messages))

    assert found["errors"] == 0
    assert found["requests"] > 0
    assert found["concurrency"] == 3
    assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= found["p999_ms"]
    assert found["rps"] == pytest.approx(found["requests"] / found["duration_s"])


def test_a_message_is_learnt_with_its_own_answer(front: Front) -> None:
    one, two = asyncio.run(learn(HOST, front.port, ask(front, 1, 2)))

    assert one.ending is not None
    assert one.ending.startswith(b"\r\n\r\n{")
    assert b"[2.0,2.0,2.0]" in one.ending
    assert two.ending is not None
    assert b"[4.0,4.0,4.0]" in two.ending


def test_answers_that_belong_to_another_request_are_errors(front: Front) -> None:
    one, two = asyncio.run(learn(HOST, front.port, ask(front, 1, 2)))
    swapped = [replace(one, ending=two.ending), replace(two, ending=one.ending)]

    found = asyncio.run(measure(front, swapped))

    assert found["errors"] == found["requests"] > 0


def test_refusals_are_errors_even_if_nothing_is_expected(front: Front) -> None:
    found = asyncio.run(measure(front, [Message(request) for request in ask(front, 1, model="nix")]))

    assert found["errors"] == found["requests"] > 0


def test_a_server_that_refuses_is_not_measured(front: Front) -> None:
    with pytest.raises(InvalidInput, match="answered 404"):
        asyncio.run(learn(HOST, front.port, ask(front, 1, model="nix")))


def test_nobody_there_is_said() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]

        with pytest.raises(Unavailable, match=f"nobody answers at 127.0.0.1:{port}"):
            asyncio.run(learn(HOST, port, [b""]))
        with pytest.raises(Unavailable, match=f"nobody answers at 127.0.0.1:{port}"):
            asyncio.run(run_closed_loop(HOST, port, [Message(b"")], concurrency=1, duration_s=0.1))


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    writer.close()


def test_a_server_that_hangs_up_is_an_error() -> None:
    async def against_it() -> tuple[int, int]:
        server = await asyncio.start_server(hang_up, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="in the middle of a reply"):
            await learn(HOST, port, [b"x"])
        run = await run_closed_loop(HOST, port, [Message(b"x")], concurrency=2, duration_s=0.1)
        server.close()
        await server.wait_closed()
        return run.requests, run.errors

    assert asyncio.run(against_it()) == (0, 2)
