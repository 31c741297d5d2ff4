"""Large bodies are read and compressed beside the loop, while others are answered; and what comes of it is the same."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.serving.http.answering import Answering
from mlserve.serving.http.exchanges import Common
from mlserve.serving.http.heads import Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.observed import ObservedConnection
from mlserve.serving.http.offloading import DEFLATED_BYTES, INFLATED_BYTES, JSON_BYTES, Offload
from mlserve.serving.http.replies import StatusLines
from tests.serving.fakes import FakeEngine, echo
from tests.serving.http.fronts import fronting, read_all
from tests.serving.http.test_observed import Recorder
from tests.serving.http.wire import GET, Client, Wire, message, replies, row

ECHO = "POST /v2/models/echo/infer HTTP/1.1"
COUNT = JSON_BYTES // 4
ZIP = "Content-Encoding: gzip"


class Held(Offload):
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        def both() -> None:
            try:
                outcome = work()
            except Exception as error:
                outcome = error
            then(outcome)

        self.waiting.append(both)

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for both in waiting:
            both()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def client(engine: FakeEngine, held: Held) -> Client:
    return Client(engine, offload=held)


def large(**fields: Any) -> str:
    tensor = {"name": "x", "shape": [1, COUNT], "datatype": "FP32", "data": [0.5] * COUNT}
    return json.dumps({"inputs": [tensor], "outputs": [{"name": "y"}], **fields})


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        pytest.param(large().encode(), [], id="much JSON"),
        pytest.param(gzip.compress(large().encode()).ljust(INFLATED_BYTES, b"\0"), [ZIP], id="compressed, and broken"),
        pytest.param(gzip.compress(large().encode(), 0), [ZIP], id="compressed"),
        pytest.param(b"[" * JSON_BYTES, [], id="no request"),
    ],
)
def test_a_large_body_is_read_beside_the_loop_and_judged_as_on_it(
    engine: FakeEngine, client: Client, held: Held, body: bytes, lines: list[str]
) -> None:
    direct = Client(engine)
    direct.send(message(body, *lines, start=ECHO))
    engine.release()
    (expected,) = direct.took()

    client.send(message(body, *lines, start=ECHO))
    assert (client.took(), engine.tickets) == ([], [])
    held.release()
    engine.release()

    (found,) = client.took()
    assert (found.status, found.body) == (expected.status, expected.body)


def test_a_small_body_is_read_at_once(engine: FakeEngine, client: Client, held: Held) -> None:
    client.send(message(row(1, 2, 3)))
    client.send(message(gzip.compress(row(1, 2, 3).encode()), ZIP))

    assert (len(engine.tickets), held.waiting) == (2, [])


def test_answers_keep_their_order_behind_a_body_that_is_still_read(
    engine: FakeEngine, client: Client, held: Held
) -> None:
    client.send(message(large(id="first"), start=ECHO) + GET + message(row(1, 2, 3, id="third")))
    engine.release()
    assert client.took() == []

    held.release()
    engine.release()

    first, second, third = client.took()
    assert (first.json["id"], second.json, third.json["id"]) == ("first", {"live": True}, "third")


def test_a_client_that_goes_while_its_body_is_read_asks_nothing(engine: FakeEngine, client: Client, held: Held) -> None:
    client.send(message(large(), start=ECHO))

    client.connection.connection_lost(None)
    held.release()

    assert engine.tickets == []


def test_more_json_than_allowed_is_refused_without_being_read(engine: FakeEngine, held: Held) -> None:
    client = Client(engine, Limits(max_json_bytes=1000), offload=held)

    client.send(message(b" " * 1001, start=ECHO))
    client.send(message(b" " * 1001, "Inference-Header-Content-Length: 1001", start=ECHO))

    assert [reply.status for reply in client.took()] == [413, 413]
    assert held.waiting == []


def binary(count: int) -> bytes:
    tensor = {"name": "x", "shape": [1, count], "datatype": "FP32", "parameters": {"binary_data_size": 4 * count}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    blob = np.arange(count, dtype=np.float32).tobytes()
    lines = [f"Inference-Header-Content-Length: {len(text)}", "Accept-Encoding: gzip"]
    return message(text + blob, *lines, start=ECHO)


def test_a_large_reply_is_compressed_beside_the_loop(engine: FakeEngine, client: Client, held: Held) -> None:
    client.send(binary(DEFLATED_BYTES // 4) + GET)
    engine.release()
    assert client.took() == []

    held.release()

    packed, after = client.took()
    header = int(packed.headers["inference-header-content-length"])
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body)[header:] == np.arange(DEFLATED_BYTES // 4, dtype=np.float32).tobytes()
    assert after.json == {"live": True}


def test_who_goes_while_the_reply_is_compressed_gets_nothing(engine: FakeEngine, client: Client, held: Held) -> None:
    client.send(binary(DEFLATED_BYTES // 4))
    engine.release()

    client.connection.connection_lost(None)
    held.release()

    assert client.took() == []


def test_observers_are_told_of_a_compressed_reply_once_with_its_length(engine: FakeEngine, held: Held) -> None:
    recorder, limits, wire = Recorder(), Limits(), Wire()
    common = Common(StatusLines(0.0), b"test", offload=held)
    parts = (Answering(engine, limits, lambda: 0.0, offload=held), common, limits, Heads(limits))
    connection = ObservedConnection(*parts, lambda connection: None, lambda connection: None, observers=[recorder])
    connection.connection_made(wire)

    connection.data_received(binary(DEFLATED_BYTES // 4))
    engine.release()
    assert recorder.seen == []
    held.release()

    (seen,) = recorder.seen
    assert (seen.status, seen.reply_bytes) == (200, len(wire.written))


def test_work_is_done_in_a_thread_and_what_comes_of_it_on_the_loop() -> None:
    async def story() -> list[Any]:
        offload, came, done = Offload(asyncio.get_running_loop()), [], asyncio.Event()

        def then(outcome: Any) -> None:
            came.append((outcome, threading.current_thread() is threading.main_thread()))
            if len(came) == 2:
                done.set()

        offload.run(threading.current_thread, then)
        offload.run(partial(int, "x"), then)
        await done.wait()
        offload.close()
        return came

    (thread, on_loop), (error, also_on_loop) = asyncio.run(story())

    assert thread is not threading.main_thread()
    assert isinstance(error, ValueError)
    assert (on_loop, also_on_loop) == (True, True)


def test_a_real_front_answers_large_bodies_and_compresses_large_replies() -> None:
    engine = FakeEngine()
    engine.add(echo(DType.FLOAT32))
    body = gzip.compress(large().encode(), 0)

    with fronting(engine) as front, front.connect() as client:
        client.sendall(message(body, ZIP, "Accept-Encoding: gzip", "Connection: close", start=ECHO))
        (reply,) = replies(read_all(client))

    assert reply.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(reply.body))["outputs"][0]["data"] == [0.5] * COUNT
