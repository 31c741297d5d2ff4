"""Calls as gRPC sees them: ids, deadlines, cancellation, hostile messages, health, reflection, and the end."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.errors import InvalidInput, MlserveError, Unavailable
from mlserve.protocol.messages import (
    FILES,
    HEALTH,
    HEALTH_SERVICE,
    INFERENCE,
    REFLECTION,
    REFLECTION_SERVICES,
    SERVICE,
)
from mlserve.serving.grpc.decoding import decode_infer, parse
from mlserve.serving.grpc.front import GrpcFront
from mlserve.serving.seam import RunTiming
from tests.serving.engines import GatedModel, gated_world
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.grpc.fronts import Front, fronting


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(doubling())
    return engine


@pytest.fixture
def front(engine: FakeEngine) -> Iterator[Front]:
    with fronting(engine) as front:
        yield front


def infer(values: list[float] | None = None, **fields: Any) -> Any:
    message = INFERENCE["ModelInferRequest"](model_name="fraud", **fields)
    array = np.float32([values or [1, 2, 3]])
    message.inputs.add(name="x", datatype="FP32", shape=array.shape)
    message.raw_input_contents.append(array.tobytes())
    return message


def called(front: Front, message: Any, metadata: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """The trailing metadata of an inference."""
    with grpc.insecure_channel(front.address) as channel:
        method = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        _, call = method.with_call(message.SerializeToString(), timeout=30, metadata=metadata)
    return {name: value for name, value in call.trailing_metadata()}


def refused(front: Front, data: bytes, method: str = "ModelInfer", **how: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        front.call(method, data, **how)
    return caught.value


def test_the_request_id_comes_back_whoever_made_it(front: Front) -> None:
    assert called(front, infer(), (("mlserve-request-id", "from-metadata"),))["mlserve-request-id"] == "from-metadata"
    assert called(front, infer(id="from-message"))["mlserve-request-id"] == "from-message"
    assert called(front, infer())["mlserve-request-id"]


def test_an_error_has_the_request_id_too(front: Front) -> None:
    error: Any = refused(front, b"\xff", metadata=(("mlserve-request-id", "r-9"),))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ("mlserve-request-id", "r-9") in [tuple(pair) for pair in error.trailing_metadata()]


def test_a_receipt_comes_for_clients_that_ask(front: Front, engine: FakeEngine) -> None:
    engine.timing = RunTiming(5e11, 5e11, 5e11, 1, 1)

    assert "run=" in called(front, infer(), (("mlserve-receipt", "1"),))["mlserve-receipt"]
    assert "mlserve-receipt" not in called(front, infer())


def test_the_unit_key_comes_from_metadata_or_parameters(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    keyed = infer()
    keyed.parameters["unit_key"].string_param = "user-8"
    with grpc.insecure_channel(front.address) as channel:
        method = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        calls = [
            method.future(infer().SerializeToString(), metadata=(("mlserve-unit-key", "user-7"),)),
            method.future(keyed.SerializeToString(), metadata=(("mlserve-unit-key", "other"),)),
        ]
        front.on_loop(lambda: until(lambda: len(engine.tickets) == 2))
        keys = sorted(str(ticket.request.unit_key) for ticket in engine.tickets)
        front.on_loop(lambda: released(engine))
        for call in calls:
            call.result(timeout=30)

    assert keys == ["user-7", "user-8"]


async def until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0.001)


async def released(engine: FakeEngine) -> None:
    engine.release()


def test_the_calls_deadline_is_the_requests(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    with grpc.insecure_channel(front.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(infer().SerializeToString(), timeout=50)
        front.on_loop(lambda: until(lambda: engine.tickets))

        async def left_s() -> float:
            deadline_s = engine.tickets[0].request.deadline_s
            assert deadline_s is not None
            return deadline_s - asyncio.get_running_loop().time()

        # gRPC rounds the time that is left on its way here.
        assert 30 < front.on_loop(left_s) < 51
        front.on_loop(lambda: released(engine))
        call.result(timeout=30)


def test_a_call_that_is_cancelled_takes_its_request_along(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    with grpc.insecure_channel(front.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(infer().SerializeToString())
        front.on_loop(lambda: until(lambda: engine.tickets))
        call.cancel()
        front.on_loop(lambda: until(lambda: engine.tickets[0].deliver is None))


def test_a_deadline_that_passes_in_the_queue_takes_no_room_in_a_batch() -> None:
    model = GatedModel()

    async def engine() -> Any:
        world = await gated_world(model, lanes=1)
        worlds.append(world)
        return world.engine

    worlds: list[Any] = []
    message = INFERENCE["ModelInferRequest"](model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(np.float32([[1]]).tobytes())
    data = message.SerializeToString()
    with fronting(engine) as front, grpc.insecure_channel(front.address) as channel:
        method = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        first = method.future(data)
        assert model.started.acquire(timeout=60)
        late = method.future(data, timeout=0.05)
        assert late.exception(timeout=30).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        model.gate.set()
        first.result(timeout=30)
        method(data, timeout=30)
        worlds[0].close()

    assert model.runs == [1, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda m: m.inputs[0].contents.fp32_contents.append(1), "both contents and raw", id="both"),
        pytest.param(lambda m: m.ClearField("raw_input_contents"), "unable to find data", id="neither"),
        pytest.param(lambda m: m.raw_input_contents.append(b""), "2 raw contents were sent for 1", id="too many"),
        pytest.param(lambda m: m.inputs[0].shape.append(2), "needs 24", id="another shape"),
        pytest.param(lambda m: m.inputs[0].shape.__setitem__(0, -1), "shape", id="negative shape"),
        pytest.param(lambda m: setattr(m, "model_version", "one"), "version 'one'", id="no version"),
        pytest.param(lambda m: m.outputs.add(name="z"), "no output 'z'", id="unknown output"),
        pytest.param(lambda m: [m.outputs.add(name="y") for _ in range(2)], "comes twice", id="output twice"),
        pytest.param(
            lambda m: setattr(m.inputs[0].parameters["shared_memory_region"], "string_param", "r"),
            "shared memory",
            id="input in shared memory",
        ),
        pytest.param(
            lambda m: setattr(m.outputs.add(name="y").parameters["shared_memory_region"], "string_param", "r"),
            "shared memory",
            id="output in shared memory",
        ),
    ],
)
def test_a_message_that_does_not_fit_says_why(engine: FakeEngine, change: Any, said: str) -> None:
    message = infer()
    change(message)

    with pytest.raises(MlserveError, match=said):
        decode_infer(engine, message, lambda: 0.0)


def test_typed_contents_lie_where_their_type_says(engine: FakeEngine) -> None:
    message = infer()
    message.ClearField("raw_input_contents")
    message.inputs[0].contents.fp64_contents.extend([1, 2, 3])

    with pytest.raises(InvalidInput, match="in fp64_contents; those of FP32 are fp32_contents"):
        decode_infer(engine, message, lambda: 0.0)


GOOD = infer(id="a", model_version="1").SerializeToString()


@given(
    st.one_of(
        st.binary(max_size=200),
        st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]),
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)).map(
            lambda flip: GOOD[: flip[0]] + bytes([flip[1]]) + GOOD[flip[0] + 1 :]
        ),
    )
)
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    engine = FakeEngine()
    engine.add(doubling())

    with suppress(MlserveError):
        decode_infer(engine, parse(data), lambda: 0.0)


def test_a_bug_is_logged_and_not_explained(front: Front, engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine.refuse = ZeroDivisionError("a secret")

    with caplog.at_level(logging.ERROR):
        error: Any = refused(front, infer(id="r-5").SerializeToString())

    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal server error")
    assert "request r-5: a secret" in caplog.text
    assert front.front.refused == {grpc.StatusCode.INTERNAL.value[0]: 1}


@pytest.mark.parametrize("method", ["ModelMetadata", "RepositoryModelLoad"])
def test_other_methods_refuse_what_is_no_message(front: Front, method: str) -> None:
    error: Any = refused(front, b"\xff\xff", method)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_another_repository_is_refused(front: Front) -> None:
    message = INFERENCE["RepositoryIndexRequest"](repository_name="mine")

    error: Any = refused(front, message.SerializeToString(), "RepositoryIndex")

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_who_may_not_call_is_told_so(engine: FakeEngine) -> None:
    seen = []

    def authorize(scope: str, metadata: Any) -> None:
        seen.append(scope)
        if metadata.get("authorization") != "Bearer k":
            raise Unavailable("who are you")

    with fronting(engine, authorize=authorize) as front:
        front.call("ServerLive")
        refused(front, GOOD)
        refused(front, b"", "RepositoryModelLoad")
        refused(front, b"", "ModelMetadata")
        front.call("ModelInfer", GOOD, metadata=(("authorization", "Bearer k"),))

    assert seen == ["infer", "manage", "infer", "infer"]


def status(front: Front, service: str) -> int:
    message = HEALTH["HealthCheckRequest"](service=service)
    answer = front.call("Check", message.SerializeToString(), service=HEALTH_SERVICE)
    found: int = HEALTH["HealthCheckResponse"].FromString(answer).status
    return found


def test_health_is_told_of_the_server_and_of_each_model(front: Front, engine: FakeEngine) -> None:
    assert [status(front, name) for name in ("", SERVICE, "fraud")] == [1, 1, 1]
    engine.ready = False
    assert [status(front, name) for name in ("", "fraud")] == [2, 2]
    error: Any = refused(front, b"\n\x03nix", "Check", service=HEALTH_SERVICE)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    listed = HEALTH["HealthListResponse"].FromString(front.call("List", service=HEALTH_SERVICE))
    assert {name: one.status for name, one in listed.statuses.items()} == {"": 2, SERVICE: 2, "fraud": 2}


def test_a_watch_tells_each_change(front: Front, engine: FakeEngine) -> None:
    with grpc.insecure_channel(front.address) as channel:
        stream = channel.unary_stream(f"/{HEALTH_SERVICE}/Watch")(b"\n\x03nix", timeout=60)
        found = [HEALTH["HealthCheckResponse"].FromString(next(stream)).status]
        engine.add(doubling(name="nix"))
        found.append(HEALTH["HealthCheckResponse"].FromString(next(stream)).status)
        stream.cancel()

    assert found == [3, 1]


@pytest.mark.parametrize("service", REFLECTION_SERVICES)
def test_reflection_gives_out_services_and_files(front: Front, service: str) -> None:
    messages = REFLECTION[service]
    questions = [
        {"list_services": "*"},
        {"file_containing_symbol": SERVICE},
        {"file_by_filename": "mlserve/health.proto"},
        {"file_containing_symbol": "nothing.Here"},
    ]
    requests = [messages["ServerReflectionRequest"](**question).SerializeToString() for question in questions]
    with grpc.insecure_channel(front.address) as channel:
        method = channel.stream_stream(f"/{service}/ServerReflectionInfo")
        answers = [messages["ServerReflectionResponse"].FromString(one) for one in method(iter(requests), timeout=30)]

    assert SERVICE in [one.name for one in answers[0].list_services_response.service]
    given_out = [answer.file_descriptor_response.file_descriptor_proto for answer in answers[1:3]]
    assert [list(files) for files in given_out] == [
        [FILES["mlserve/inference.proto"].SerializeToString()],
        [FILES["mlserve/health.proto"].SerializeToString()],
    ]
    assert answers[3].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_a_port_that_is_taken_is_said(front: Front, engine: FakeEngine) -> None:
    port = int(front.address.rpartition(":")[2])

    with pytest.raises(Unavailable, match=f"127.0.0.1:{port} for gRPC"):
        front.on_loop(lambda: GrpcFront(engine).listen("127.0.0.1", port))


def test_a_drain_finishes_what_is_under_way_and_ends_idle_streams(front: Front, engine: FakeEngine) -> None:
    engine.held = True
    sending = threading.Event()

    def requests() -> Iterator[bytes]:
        sending.wait(60)
        yield from ()

    with grpc.insecure_channel(front.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(GOOD)
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(requests())
        front.on_loop(lambda: until(lambda: engine.tickets and front.front._streams._open))

        async def drain() -> None:
            draining = asyncio.ensure_future(front.front.drain(30.0))
            await asyncio.sleep(0.05)
            engine.release()
            await draining

        front.on_loop(drain)
        answered = INFERENCE["ModelInferResponse"].FromString(call.result(timeout=30))
        sending.set()
        assert list(stream) == []

    assert answered.id == "a"
