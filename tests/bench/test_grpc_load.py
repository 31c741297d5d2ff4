"""gRPC load by hand, against the library's own server: calls, statuses, flow control, lost connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from mlserve.bench import http2
from mlserve.bench.arrivals import arrivals
from mlserve.bench.generators import ServerDriver
from mlserve.bench.grpc_messages import INFER, infer_request, is_same_response, signature_of
from mlserve.bench.load import Load, run_load
from mlserve.bench.messages import Message
from mlserve.bench.outcomes import UNANSWERED, WRONG, Outcome
from mlserve.bench.stretches import Stretch
from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.errors import Unavailable

HOST = "127.0.0.1"
Method = Callable[[bytes, Any], bytes]


@contextmanager
def serving(method: Method) -> Iterator[int]:
    """The port of a gRPC server whose ModelInfer is ``method``, bytes in and out."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(method)}
    service = INFER.split("/")[1]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(10)


def echo(request: bytes, context: Any) -> bytes:
    return request


def echoed(content: bytes) -> Message:
    return Message(http2.message_of(content), http2.message_of(content))


def load(port: int, messages: list[Message], stretch: Stretch) -> Outcome:
    return run_load(Load(HOST, port, messages, stretch, INFER))


@pytest.mark.parametrize("concurrency", [1, 8, 130])
def test_calls_are_answered_each_with_its_own(concurrency: int) -> None:
    with serving(echo) as port:
        found = load(port, [echoed(b"one"), echoed(b"another"), echoed(b"")], Stretch(concurrency, 0.3))

    assert found.failed == 0
    assert found.answered >= concurrency


def test_a_message_larger_than_every_window_goes_through() -> None:
    with serving(echo) as port:
        found = load(port, [echoed(bytes(3 << 20)), echoed(b"small")], Stretch(4, 0.5))

    assert found.failed == 0
    assert found.answered >= 4


def test_an_open_loop_calls_when_it_is_due() -> None:
    due = arrivals("uniform", 100, 0.3, np.random.default_rng(0))

    with serving(echo) as port:
        found = load(port, [echoed(b"x")], Stretch(4, 0.3, due=due))

    assert (found.answered, found.failed) == (len(due), 0)


def test_statuses_are_failures_by_their_names() -> None:
    def refuse(request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        raise AssertionError

    with serving(refuse) as port:
        found = load(port, [Message(http2.message_of(b"x"))], Stretch(2, 0.2))

    assert found.failures.keys() == {"status RESOURCE_EXHAUSTED"}
    assert found.answered == 0


def test_an_answer_that_belongs_to_another_call_is_a_failure() -> None:
    with serving(echo) as port:
        found = load(port, [Message(http2.message_of(b"\x0a\x01a"), http2.message_of(b"\x0a\x01b"))], Stretch(2, 0.2))

    assert found.failures.keys() == {WRONG}


def test_a_call_that_is_never_answered_is_a_failure() -> None:
    with serving(echo) as port:
        elsewhere = Load(HOST, port, [echoed(b"x")], Stretch(2, 0.2), "/inference.GRPCInferenceService/Nothing")
        found = run_load(elsewhere)

    assert found.failures.keys() <= {"status UNIMPLEMENTED", UNANSWERED}
    assert found.answered == 0


def test_several_generators_and_their_ceiling_speak_grpc_too() -> None:
    with serving(echo) as port:
        driver = ServerDriver(HOST, port, [echoed(b"x" * 300)], processes=2, grpc=INFER)
        found = driver.run(Stretch(4, 0.3), lambda: None)
        ceiling = driver.ceiling(Stretch(4, 0.3))

    assert (found.failed, ceiling.failed) == (0, 0)
    assert found.answered > 0
    assert ceiling.answered > 0


def test_frames_survive_being_cut_anywhere() -> None:
    whole = http2.opening() + http2.frame(http2.DATA, http2.END_STREAM, 7, b"payload")
    expected = list(http2.frames(whole))

    for cut in range(len(whole)):
        *first, taken = http2.frames(whole[:cut])
        assert isinstance(taken, int)
        assert [*first, *http2.frames(whole[taken:])][:-1] == expected[:-1]


def test_a_request_is_what_the_protocol_s_own_messages_say() -> None:
    words = np.array([["a", "é"]], object)
    arrays = {"x": np.array([[1.0, 2.0]], np.float32), "words": words}

    request = infer_request("fraud", "2", arrays, {"x": DType.FLOAT32, "words": DType.STRING})

    read = service_pb2.ModelInferRequest.FromString(request)
    assert (read.model_name, read.model_version) == ("fraud", "2")
    assert [(one.name, one.datatype, list(one.shape)) for one in read.inputs] == [
        ("x", "FP32", [1, 2]),
        ("words", "BYTES", [1, 2]),
    ]
    assert list(read.raw_input_contents) == [
        np.array([1, 2], np.float32).tobytes(),
        b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xa9",
    ]


def test_what_is_no_metadata_is_refused() -> None:
    with pytest.raises(Unavailable, match="none of the Open Inference Protocol"):
        signature_of(b"\xff\xff")


def test_metadata_is_read_as_a_signature() -> None:
    tensor = service_pb2.ModelMetadataResponse.TensorMetadata
    metadata = service_pb2.ModelMetadataResponse(
        name="fraud",
        versions=["1"],
        platform="onnxruntime_onnx",
        inputs=[tensor(name="x", datatype="FP32", shape=[-1, 30, -1])],
        outputs=[tensor(name="y", datatype="INT64", shape=[-1])],
    )

    signature, digest = signature_of(metadata.SerializeToString())

    assert signature.inputs == (TensorSpec("x", DType.FLOAT32, ("batch", 30, None)),)
    assert signature.outputs == (TensorSpec("y", DType.INT64, ("batch",)),)
    assert digest is None


def response(value: float, name: str = "y") -> bytes:
    output = service_pb2.ModelInferResponse.InferOutputTensor(name=name, datatype="FP32", shape=[1, 1])
    raw = np.array([value], np.float32).tobytes()
    made = service_pb2.ModelInferResponse(model_name="m", outputs=[output], raw_output_contents=[raw])
    return bytes(made.SerializeToString())


def test_answers_are_the_same_up_to_rounding() -> None:
    assert is_same_response(response(0.1), response(0.100001))
    assert not is_same_response(response(0.1), response(0.2))
    assert not is_same_response(response(0.1), response(0.1, name="z"))
    assert not is_same_response(response(0.1), b"")
