"""What those who look on are told of calls over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest

from mlserve.errors import Overloaded
from mlserve.serving.observing import Seen
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.grpc.fronts import Front, fronting
from tests.serving.grpc.test_calls import infer
from tests.serving.http.test_observed import TRACEPARENT, Recorder


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(doubling())
    return engine


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def front(engine: FakeEngine, recorder: Recorder) -> Iterator[Front]:
    with fronting(engine, observers=[recorder]) as found:
        yield found


def seen_of(front: Front, recorder: Recorder) -> Seen:
    """What was seen; a client may have its error a moment before."""

    async def until() -> None:
        async with asyncio.timeout(60.0):
            while not recorder.seen:
                await asyncio.sleep(0.001)

    front.on_loop(until)
    (seen,) = recorder.seen
    return seen


def test_a_call_that_was_answered_is_told_with_its_model_and_trace(front: Front, recorder: Recorder) -> None:
    metadata = (("mlserve-request-id", "a-7"), ("traceparent", TRACEPARENT))

    answer = front.call("ModelInfer", infer().SerializeToString(), metadata=metadata)

    seen = seen_of(front, recorder)
    assert (seen.protocol, seen.action, seen.model, seen.version) == ("grpc", "infer", "fraud", "1")
    assert (seen.id, seen.status, seen.traceparent) == ("a-7", 200, TRACEPARENT)
    assert seen.reply_bytes == len(answer)
    assert seen.client.startswith("127.0.0.1:")
    assert seen.began_s is not None
    assert seen.ended_s >= seen.began_s


def test_a_call_that_was_refused_is_told_in_the_statuses_of_http_and_counted(
    front: Front, engine: FakeEngine, recorder: Recorder
) -> None:
    engine.refuse = Overloaded("full")

    with pytest.raises(grpc.RpcError):
        front.call("ModelInfer", infer().SerializeToString())

    seen = seen_of(front, recorder)
    assert (seen.status, seen.model, seen.version, seen.reply_bytes) == (429, "fraud", "", 0)
    assert front.front.failures == {("fraud", "overloaded"): 1}


def test_names_that_clients_make_up_are_not_counted_by_name(front: Front, recorder: Recorder) -> None:
    with pytest.raises(grpc.RpcError):
        front.call("ModelInfer", b"\xff")

    assert seen_of(front, recorder).status == 400
    assert front.front.failures == {("", "invalid_input"): 1}
