"""KServe's V1 protocol and the generate extension, over the same tensors: rows in, rows out, and streams of events."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import pytest

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unavailable
from mlserve.serving.seam import RunTiming
from tests.serving.fakes import FakeEngine, FakeModel, echo, view_of
from tests.serving.http.wire import Client, Parsed, message


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(held=True)
    engine.add(echo(DType.FLOAT32, name="m"))
    engine.add(echo(DType.STRING, name="texts", dims=("batch",)))
    view = view_of(
        {"a": (DType.FLOAT32, ("batch", 2)), "n": (DType.INT64, ("batch",))},
        {"total": (DType.FLOAT32, ("batch",)), "n": (DType.INT64, ("batch",))},
        name="two",
    )
    engine.add(FakeModel(view, lambda inputs: {"total": inputs["a"].sum(axis=1), "n": inputs["n"] + 1}))
    prompt = view_of({"text_input": (DType.STRING, ("n",))}, {"text_output": (DType.STRING, ("n",))}, name="llm")
    engine.add(FakeModel(prompt, lambda inputs: {"text_output": inputs["text_input"]}))
    return engine


def predicted(engine: FakeEngine, name: str, body: Any, *headers: str) -> Parsed:
    client = Client(engine)
    client.send(message(json.dumps(body), *headers, start=f"POST /v1/models/{name}:predict HTTP/1.1"))
    engine.release()
    return client.took()[0]


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        pytest.param("m", {"instances": [[1, 2.5], [3, 4]]}, {"predictions": [[1.0, 2.5], [3.0, 4.0]]}, id="bare rows"),
        pytest.param("m", {"instances": [{"x": [1, 2]}]}, {"predictions": [[1.0, 2.0]]}, id="rows as objects"),
        pytest.param("m", {"inputs": [[1, 2]]}, {"outputs": [[1.0, 2.0]]}, id="by columns"),
        pytest.param("m", {"inputs": {"x": [[0.1]]}}, {"outputs": [[0.1]]}, id="by named columns"),
        pytest.param("texts", {"instances": ["a", "ä"]}, {"predictions": ["a", "ä"]}, id="texts"),
        pytest.param(
            "texts", {"instances": [{"b64": base64.b64encode(b"hi").decode()}]}, {"predictions": ["hi"]}, id="base64"
        ),
        pytest.param(
            "two",
            {"instances": [{"a": [1, 2], "n": 3}, {"a": [0.5, 0.1], "n": -1}]},
            {"predictions": [{"total": 3.0, "n": 4}, {"total": 0.6, "n": 0}]},
            id="several inputs and outputs",
        ),
        pytest.param(
            "two", {"inputs": {"a": [[1, 2]], "n": [3]}}, {"outputs": {"total": [3.0], "n": [4]}}, id="several columns"
        ),
    ],
)
def test_rows_of_v1_are_answered_as_rows(engine: FakeEngine, name: str, body: Any, expected: Any) -> None:
    reply = predicted(engine, name, body)

    assert (reply.status, reply.json) == (200, expected)


def test_what_is_not_finite_is_a_bare_token_in_v1(engine: FakeEngine) -> None:
    reply = predicted(engine, "m", {"instances": [[float("nan"), float("-inf")]]})

    assert reply.body == b'{"predictions":[[NaN,-Infinity]]}'


@pytest.mark.parametrize(
    ("name", "body"),
    [
        pytest.param("m", {}, id="nothing"),
        pytest.param("m", [], id="no object"),
        pytest.param("m", {"instances": [], "inputs": []}, id="both"),
        pytest.param("m", {"instances": []}, id="no rows"),
        pytest.param("m", {"instances": 7}, id="no list"),
        pytest.param("m", {"instances": [[1], [1, 2]]}, id="ragged"),
        pytest.param("m", {"instances": [["a"]]}, id="text for a number"),
        pytest.param("m", {"inputs": {"z": [[1]]}}, id="unknown column"),
        pytest.param("two", {"instances": [[1, 2]]}, id="bare rows of several inputs"),
        pytest.param("two", {"instances": [{"a": [1, 2]}]}, id="an input missing"),
        pytest.param("two", {"instances": [{"a": [1, 2], "n": 1, "z": 1}]}, id="an input too many"),
        pytest.param("two", {"inputs": [[1]]}, id="columns without names"),
        pytest.param("texts", {"instances": [{"b64": "%%"}]}, id="no base64"),
    ],
)
def test_rows_that_do_not_fit_are_refused(engine: FakeEngine, name: str, body: Any) -> None:
    reply = predicted(engine, name, body)

    assert reply.status == 400
    assert reply.json["error"]


def test_v1_lists_models_and_says_whether_they_are_ready(engine: FakeEngine) -> None:
    client = Client(engine)
    client.send(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n")

    names, ready = client.took()
    assert names.json == {"models": ["m", "texts", "two", "llm"]}
    assert ready.json == {"name": "m", "ready": True}


def test_a_bug_behind_v1_is_a_bland_500(engine: FakeEngine) -> None:
    engine.models_by_key["m", None].run = lambda inputs: 1 / 0  # type: ignore[assignment,return-value]

    assert predicted(engine, "m", {"instances": [[1]]}).status == 500


def generated(engine: FakeEngine, name: str, body: Any) -> Parsed:
    client = Client(engine)
    client.send(message(json.dumps(body), start=f"POST /v2/models/{name}/generate HTTP/1.1"))
    engine.release()
    return client.took()[0]


def test_generate_maps_fields_to_inputs_and_outputs(engine: FakeEngine) -> None:
    reply = generated(engine, "llm", {"text_input": "hello", "parameters": {"priority": 1}, "stream": False})

    assert reply.json == {"model_name": "llm", "model_version": "1", "text_output": "hello"}


def test_generate_takes_lists_as_tensors(engine: FakeEngine) -> None:
    reply = generated(engine, "two", {"a": [1, 2], "parameters": {"n": 5}, "id": "q"})

    assert reply.json == {"model_name": "two", "model_version": "1", "total": 3.0, "n": 6}
    assert reply.headers["mlserve-request-id"] == "q"


@pytest.mark.parametrize("body", [[], {"text_input": 7}, {"text_input": "a", "parameters": 3}])
def test_generate_refuses_what_does_not_fit(engine: FakeEngine, body: Any) -> None:
    assert generated(engine, "llm", body).status == 400


@pytest.mark.parametrize(
    ("start", "body"),
    [
        pytest.param("/v1/models/texts:predict", {"instances": ["a"]}, id="V1"),
        pytest.param("/v2/models/llm/generate", {"text_input": "a"}, id="generate"),
    ],
)
def test_a_receipt_comes_for_whoever_asks_by_header(engine: FakeEngine, start: str, body: Any) -> None:
    client = Client(engine)
    for lines in (["mlserve-receipt: 1"], []):
        client.send(message(json.dumps(body), *lines, start=f"POST {start} HTTP/1.1"))
    engine.timing = RunTiming(5e11, 5e11, 5e11, 1, 1)
    engine.release()

    with_receipt, without = client.took()
    assert (with_receipt.status, without.status) == (200, 200)
    receipt = dict(re.findall(r'(\w+)="?([^",]*)', with_receipt.headers["mlserve-receipt"]))
    assert sum(int(receipt[name]) for name in ("queue", "gather", "run", "encode")) == int(receipt["total"])
    assert receipt["version"] == "1"
    assert "mlserve-receipt" not in without.headers


@pytest.mark.parametrize("where", ["parameters", "a field"])
def test_generate_is_asked_for_a_receipt_in_its_body(engine: FakeEngine, where: str) -> None:
    asked: dict[str, Any] = {"parameters": {"receipt": True}} if where == "parameters" else {"receipt": True}

    assert "mlserve-receipt" in generated(engine, "llm", {"text_input": "a", **asked}).headers
    assert generated(engine, "llm", {"text_input": "a", "parameters": {"receipt": 1}}).status == 400


class Streaming:
    """A client of ``generate_stream``, on a loop."""

    def __init__(self, engine: FakeEngine) -> None:
        self.client = Client(engine)
        self.wire = self.client.wire

    def ask(self, *lines: str, version: str = "1.1") -> None:
        start = f"POST /v2/models/llm/generate_stream HTTP/{version}"
        self.client.send(message('{"text_input": "hello"}', *lines, start=start))

    async def until_quiet(self) -> bytes:
        for _ in range(20):
            await asyncio.sleep(0)
        written, self.wire.written = self.wire.written, b""
        return written


def events(written: bytes) -> tuple[bytes, list[Any]]:
    """The head, and what the chunks hold."""
    head, _, rest = written.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        assert rest[int(size, 16) :][:2] == b"\r\n"
        rest = rest[int(size, 16) + 2 :]
    return head, [json.loads(event.removeprefix(b"data: ")) for event in body.split(b"\n\n") if event]


def test_a_stream_is_an_event_a_part(engine: FakeEngine) -> None:
    engine.parts = 3

    async def ask() -> bytes:
        stream = Streaming(engine)
        stream.ask()
        return await stream.until_quiet()

    head, found = events(asyncio.run(ask()))

    assert b"content-type: text/event-stream" in head
    assert [event["text_output"] for event in found] == ["hello"] * 3


def test_a_stream_begins_with_the_receipt_of_its_first_part(engine: FakeEngine) -> None:
    engine.parts = 2

    async def ask() -> bytes:
        stream = Streaming(engine)
        stream.ask("mlserve-receipt: 1")
        return await stream.until_quiet()

    head, found = events(asyncio.run(ask()))

    assert head.count(b"\r\nmlserve-receipt: ") == 1
    assert len(found) == 2


def test_an_error_before_the_first_part_is_a_plain_reply(engine: FakeEngine) -> None:
    engine.parts, engine.breaks = 0, Unavailable("no memory left")

    async def ask() -> bytes:
        stream = Streaming(engine)
        stream.ask()
        return await stream.until_quiet()

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 503 ")


def test_an_error_after_it_is_an_event_of_its_own(engine: FakeEngine) -> None:
    engine.parts, engine.breaks = 1, InvalidInput("the prompt became too long")

    async def ask() -> bytes:
        stream = Streaming(engine)
        stream.ask()
        return await stream.until_quiet()

    _, found = events(asyncio.run(ask()))

    assert found[1:] == [{"error": "the prompt became too long"}]


def test_a_stream_behind_another_answer_waits_for_its_turn(engine: FakeEngine) -> None:
    async def ask() -> tuple[bytes, bytes]:
        stream = Streaming(engine)
        stream.client.send(message(json.dumps({"instances": ["a"]}), start="POST /v1/models/texts:predict HTTP/1.1"))
        stream.ask()
        before = await stream.until_quiet()
        engine.release()
        return before, await stream.until_quiet()

    before, after = asyncio.run(ask())

    assert before == b""
    first, _, second = after.partition(b'{"predictions":["a"]}')
    assert first.startswith(b"HTTP/1.1 200")
    assert len(events(second)[1]) == 1


def test_the_connection_goes_on_after_a_stream(engine: FakeEngine) -> None:
    async def ask() -> bytes:
        stream = Streaming(engine)
        stream.ask()
        await stream.until_quiet()
        stream.ask()
        return await stream.until_quiet()

    assert len(events(asyncio.run(ask()))[1]) == 1


def test_an_old_client_gets_its_events_until_the_connection_ends(engine: FakeEngine) -> None:
    async def ask() -> tuple[bytes, bool]:
        stream = Streaming(engine)
        stream.ask(version="1.0")
        return await stream.until_quiet(), stream.wire.closed

    written, is_closed = asyncio.run(ask())

    assert b"chunked" not in written
    assert written.endswith(b'"text_output":"hello"}\n\n')
    assert is_closed


def test_a_client_that_goes_away_ends_its_stream(engine: FakeEngine) -> None:
    engine.parts = 1000

    async def ask() -> None:
        stream = Streaming(engine)
        stream.ask()
        await stream.until_quiet()
        stream.client.connection.connection_lost(None)
        await stream.until_quiet()

    asyncio.run(ask())

    assert engine.cancelled == 1


def test_a_client_that_does_not_read_is_cut_off(engine: FakeEngine) -> None:
    engine.parts = 1000

    async def ask() -> bool:
        stream = Streaming(engine)
        stream.wire.unread = 100 << 20
        stream.ask()
        await stream.until_quiet()
        return stream.wire.aborted

    assert asyncio.run(ask())


def test_a_stream_that_a_drain_finds_under_way_ends_its_connection(engine: FakeEngine) -> None:
    engine.parts = 2

    async def ask() -> tuple[bytes, bool]:
        stream = Streaming(engine)
        stream.ask()
        await asyncio.sleep(0)
        stream.client.common.is_draining = True
        return await stream.until_quiet(), stream.wire.closed

    written, is_closed = asyncio.run(ask())

    assert len(events(written)[1]) == 2
    assert is_closed


def test_a_stream_that_waits_for_its_turn_fills_no_memory(engine: FakeEngine) -> None:
    engine.parts = 100
    client_says = json.dumps({"text_input": "x" * 200_000})

    async def ask() -> bool:
        stream = Streaming(engine)
        stream.client.send(message(json.dumps({"instances": ["a"]}), start="POST /v1/models/texts:predict HTTP/1.1"))
        stream.client.send(message(client_says, start="POST /v2/models/llm/generate_stream HTTP/1.1"))
        for _ in range(engine.parts):
            await asyncio.sleep(0)
        return stream.wire.aborted

    assert asyncio.run(ask())
