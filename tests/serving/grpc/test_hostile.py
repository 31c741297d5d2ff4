"""Calls that ask for more than is theirs: memory, names of models, errors too long to be told; and clients that go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from mlserve.errors import NotFound, Unauthenticated
from mlserve.protocol.messages import HEALTH_SERVICE, INFERENCE, SERVICE
from mlserve.serving.grpc.calls import Call, Calls
from mlserve.serving.grpc.streams import MAX_UNDER_WAY, InferStream
from mlserve.serving.seam import Answer, InferRequest, ModelView
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.grpc.fronts import fronting


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(doubling())
    return engine


def infer(name: str = "fraud", **flags: bool) -> bytes:
    message = INFERENCE["ModelInferRequest"](model_name=name, id="q")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    message.raw_input_contents.append(np.float32([1, 2, 3]).tobytes())
    for flag, value in flags.items():
        message.parameters[flag].bool_param = value
    data: bytes = message.SerializeToString()
    return data


class Deaf:
    """The context of a client that sends and never reads."""

    def __init__(self) -> None:
        self.written = 0

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> None:
        return None

    async def write(self, part: bytes) -> None:
        self.written += 1
        if self.written > 1:
            await asyncio.Event().wait()


def test_a_client_that_sends_and_never_reads_fills_no_memory(engine: FakeEngine) -> None:
    sent = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield infer()
            await asyncio.sleep(0)

    async def run() -> None:
        context = Deaf()
        stream = InferStream(engine, context, Call(Calls("t"), context), asyncio.get_running_loop().time)
        running = asyncio.ensure_future(stream.run(requests()))
        for _ in range(20 * MAX_UNDER_WAY):
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(run())

    assert MAX_UNDER_WAY <= sent <= MAX_UNDER_WAY + 3


class Forgetful(FakeEngine):
    """Knows no model any more once it has answered."""

    gone = False

    def view(self, model: str, version: int | None = None) -> ModelView:
        if self.gone:
            raise NotFound(f"no model '{model}'")
        return FakeEngine.view(self, model, version)

    def answer(self, request: InferRequest) -> Answer | Exception:
        self.gone = True
        return FakeEngine.answer(self, request)


def test_a_stream_ends_though_its_model_was_unloaded_meanwhile() -> None:
    engine = Forgetful()
    engine.add(doubling())

    def requests() -> Iterator[bytes]:
        yield infer(triton_enable_empty_final_response=True)

    with fronting(engine) as front, grpc.insecure_channel(front.address) as channel:
        parts = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(requests(), timeout=5)
        found = [INFERENCE["ModelStreamInferResponse"].FromString(part).infer_response for part in parts]

    assert [(one.model_version, one.id) for one in found] == [("1", "q")] * 2
    assert found[1].parameters["triton_final_response"].bool_param


def test_what_fails_in_a_stream_is_counted_and_no_name_becomes_a_label(engine: FakeEngine) -> None:
    with fronting(engine) as front, grpc.insecure_channel(front.address) as channel:
        requests = iter([infer("made-up"), infer(sequence_start=True), infer()])
        parts = list(channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(requests, timeout=30))
        failures = dict(front.front.failures)

    assert len(parts) == 3
    assert failures == {("", "not_found"): 1, ("", "unsupported"): 1}


class Slow(FakeEngine):
    """Loads when it is let, or never."""

    begun = False
    let = asyncio.Event()

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        self.begun = True
        await self.let.wait()
        self.loads.append((model, versions))


def test_a_load_is_finished_though_its_client_has_gone() -> None:
    engine = Slow()
    message = INFERENCE["RepositoryModelLoadRequest"](model_name="fraud").SerializeToString()

    async def until_begun() -> None:
        while not engine.begun:
            await asyncio.sleep(0.001)

    async def let() -> None:
        await asyncio.sleep(0.05)  # a cancelled handler would have ended by then
        engine.let.set()
        while not engine.loads:
            await asyncio.sleep(0.001)

    with fronting(engine) as front, grpc.insecure_channel(front.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/RepositoryModelLoad").future(message)
        front.on_loop(until_begun)
        call.cancel()
        front.on_loop(let, timeout_s=30)

    assert engine.loads == [("fraud", None)]


def test_an_error_about_a_long_name_reaches_the_client(engine: FakeEngine) -> None:
    with fronting(engine) as front, pytest.raises(grpc.RpcError) as caught:
        front.call("ModelInfer", infer("€" * 100_000))

    error: Any = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details().startswith("no model '€€€")


def test_what_models_there_are_is_told_only_to_who_may_ask_them(engine: FakeEngine) -> None:
    def authorize(scope: str, metadata: Mapping[str, str]) -> None:
        if metadata.get("authorization") != "Bearer k":
            raise Unauthenticated("an API key is needed")

    known = (("authorization", "Bearer k"),)
    with fronting(engine, authorize=authorize) as front:
        front.call("Check", service=HEALTH_SERVICE)
        for method, data in (("Check", b"\n\x05fraud"), ("List", b"")):
            front.call(method, data, service=HEALTH_SERVICE, metadata=known)
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                front.call(method, data, service=HEALTH_SERVICE)


def test_more_clients_than_allowed_are_cut_and_let_in_when_one_leaves(engine: FakeEngine) -> None:
    # Channels to one address share a connection unless told not to.
    apart = (("grpc.use_local_subchannel_pool", 1),)
    with fronting(engine, max_connections=2) as front:
        channels = [grpc.insecure_channel(front.address, options=apart) for _ in range(3)]
        first, second, third = (channel.unary_unary(f"/{SERVICE}/ModelInfer") for channel in channels)
        for method in (first, second):
            method(infer(), timeout=30)
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            third(infer(), timeout=30)
        second(infer(), timeout=30)

        channels[0].close()

        third(infer(), timeout=60, wait_for_ready=True)
        for channel in channels:
            channel.close()


def test_who_connects_and_says_nothing_keeps_nobody_out(engine: FakeEngine) -> None:
    with fronting(engine, max_connections=1, handshake_timeout_s=0.1) as front:
        host, _, port = front.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as silent:
            while silent.recv(1 << 10):
                pass  # until the server has cut it
            with grpc.insecure_channel(front.address) as channel:
                channel.unary_unary(f"/{SERVICE}/ModelInfer")(infer(), timeout=30, wait_for_ready=True)


def test_who_calls_nothing_for_long_makes_room_and_may_call_again(engine: FakeEngine) -> None:
    apart = (("grpc.use_local_subchannel_pool", 1),)
    with (
        fronting(engine, max_connections=1, idle_timeout_s=0.1) as front,
        grpc.insecure_channel(front.address, options=apart) as idle,
        grpc.insecure_channel(front.address, options=apart) as other,
    ):
        for channel in (idle, other, idle):
            channel.unary_unary(f"/{SERVICE}/ModelInfer")(infer(), timeout=60, wait_for_ready=True)
