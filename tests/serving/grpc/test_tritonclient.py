"""Triton's own gRPC clients, unmodified, against the front end: blocking, asyncio and streaming."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as blocking
import tritonclient.grpc.aio as nonblocking
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Overloaded
from tests.serving.fakes import FakeEngine, FakeModel, doubling, echo, view_of
from tests.serving.grpc.fronts import Front, fronting

DTYPES = [
    DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BOOL, DType.STRING, DType.INT8, DType.INT16, DType.INT32,
    DType.INT64, DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64, DType.BFLOAT16,
]  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(doubling())
    view = view_of(
        {"a": (DType.FLOAT32, ("batch", 2)), "b": (DType.INT64, ("batch", 1))},
        {"total": (DType.FLOAT32, ("batch",)), "b": (DType.INT64, ("batch", 1))},
        name="two",
    )
    engine.add(FakeModel(view, lambda inputs: {"total": inputs["a"].sum(axis=1), "b": inputs["b"]}))
    for dtype in DTYPES:
        engine.add(echo(dtype, name=dtype.value))
    return engine


@pytest.fixture(scope="module")
def front(engine: FakeEngine) -> Iterator[Front]:
    with fronting(engine) as front:
        yield front


@pytest.fixture
def client(front: Front) -> Iterator[blocking.InferenceServerClient]:
    with blocking.InferenceServerClient(front.address) as client:
        yield client


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str) -> blocking.InferInput:
    made = blocking.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def ones(*shape: int) -> list[blocking.InferInput]:
    return [tensor("x", np.ones(shape, np.float32), "FP32")]


def sample(dtype: DType) -> np.ndarray[Any, Any]:
    if dtype is DType.STRING:
        return np.array([["a", "ä"], ["", '"']], dtype=object)
    if dtype is DType.BOOL:
        return np.array([[True, False], [False, True]])
    low = 0 if dtype.value.startswith("u") else -3
    return np.array([[low, 1], [2, 3]], dtype=dtype.numpy)


@pytest.mark.parametrize("dtype", DTYPES, ids=[dtype.value for dtype in DTYPES])
def test_every_type_goes_there_and_back(client: blocking.InferenceServerClient, dtype: DType) -> None:
    array = sample(dtype)

    found = client.infer(dtype.value, [tensor("x", array, dtype.served)]).as_numpy("y")

    if found.dtype == object:
        found = np.array([[value.decode() for value in line] for line in found], dtype=object)
    np.testing.assert_array_equal(found.astype(array.dtype), array)


TYPED = {
    DType.BOOL: "bool_contents", DType.INT8: "int_contents", DType.INT16: "int_contents", DType.INT32: "int_contents",
    DType.INT64: "int64_contents", DType.UINT8: "uint_contents", DType.UINT16: "uint_contents",
    DType.UINT32: "uint_contents", DType.UINT64: "uint64_contents", DType.FLOAT32: "fp32_contents",
    DType.FLOAT64: "fp64_contents", DType.STRING: "bytes_contents",
}  # fmt: skip


@pytest.mark.parametrize("dtype", list(TYPED), ids=[dtype.value for dtype in TYPED])
def test_typed_contents_are_answered_raw(front: Front, dtype: DType) -> None:
    array = sample(dtype)
    values = [value.encode() if isinstance(value, str) else value for value in array.ravel().tolist()]
    request = service_pb2.ModelInferRequest(model_name=dtype.value)
    item = request.inputs.add(name="x", datatype=dtype.served, shape=array.shape)
    getattr(item.contents, TYPED[dtype]).extend(values)

    response = service_pb2.ModelInferResponse.FromString(front.call("ModelInfer", request.SerializeToString()))

    found = blocking.InferResult(response).as_numpy("y")
    assert len(response.raw_output_contents) == 1
    expected = array if dtype is not DType.STRING else np.array(values, object).reshape(array.shape)
    np.testing.assert_array_equal(found, expected)


def test_several_inputs_and_outputs_keep_their_places(client: blocking.InferenceServerClient) -> None:
    a, b = np.array([[1, 2], [3, 4]], np.float32), np.array([[7], [8]])

    result = client.infer(
        "two",
        [tensor("b", b, "INT64"), tensor("a", a, "FP32")],
        request_id="r-7",
        outputs=[blocking.InferRequestedOutput("b"), blocking.InferRequestedOutput("total")],
    )

    assert result.get_response().id == "r-7"
    np.testing.assert_array_equal(result.as_numpy("total"), [3, 7])
    np.testing.assert_array_equal(result.as_numpy("b"), b)


def test_an_id_is_given_back_only_if_one_was_sent(client: blocking.InferenceServerClient) -> None:
    response = client.infer("fraud", ones(1, 3), model_version="1").get_response()

    assert (response.id, response.model_version) == ("", "1")


def test_no_rows_are_answered_by_an_empty_content(client: blocking.InferenceServerClient) -> None:
    response = client.infer("fraud", ones(0, 3)).get_response()

    assert list(response.raw_output_contents) == [b""]
    assert list(response.outputs[0].shape) == [0, 3]


def test_messages_beyond_grpcs_own_limit_are_taken(client: blocking.InferenceServerClient) -> None:
    array = np.ones((1_000_000, 3), np.float32)

    np.testing.assert_array_equal(client.infer("fraud", [tensor("x", array, "FP32")]).as_numpy("y"), 2 * array)


def test_a_cap_on_messages_holds(engine: FakeEngine) -> None:
    with (
        fronting(engine, max_message_bytes=10_000) as front,
        blocking.InferenceServerClient(front.address) as client,
        pytest.raises(InferenceServerException, match="larger than max"),
    ):
        client.infer("fraud", ones(1000, 3))


def test_priority_timeout_and_parameters_are_taken(client: blocking.InferenceServerClient) -> None:
    result = client.infer("fraud", ones(1, 3), priority=2, timeout=60_000_000, parameters={"mine": 1.5, "ok": True})

    np.testing.assert_array_equal(result.as_numpy("y"), [[2, 2, 2]])


def test_classes_come_in_place_of_the_output(client: blocking.InferenceServerClient) -> None:
    inputs = [tensor("x", np.float32([[1, 3, 2]]), "FP32")]

    result = client.infer("fraud", inputs, outputs=[blocking.InferRequestedOutput("y", class_count=2)])

    assert result.as_numpy("y").tolist() == [[b"6.0:1", b"4.0:2"]]


def test_health_metadata_and_index_are_what_the_client_expects(client: blocking.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("two", "1")
    metadata = client.get_server_metadata()
    assert metadata.name == "mlserve"
    assert "classification" in metadata.extensions
    model = client.get_model_metadata("fraud")
    assert (model.platform, list(model.inputs[0].shape)) == ("onnxruntime_onnx", [-1, 3])
    assert "fraud" in [line.name for line in client.get_model_repository_index().models]
    assert client.get_model_config("fraud").config.input[0].dims == [3]
    assert list(client.get_inference_statistics("fraud").model_stats) == []
    assert list(client.get_inference_statistics().model_stats) == []


def test_loads_and_unloads_are_passed_on(client: blocking.InferenceServerClient, engine: FakeEngine) -> None:
    client.load_model("fraud", config='{"version_policy": {"specific": {"versions": [3]}}}')
    client.unload_model("fraud", unload_dependents=True)

    assert engine.loads[-1] == ("fraud", [3])
    assert engine.unloads[-1] == "fraud"


@pytest.mark.parametrize(
    ("model", "name", "code", "said"),
    [
        pytest.param("nix", "x", "StatusCode.NOT_FOUND", "no model 'nix'", id="unknown model"),
        pytest.param("fraud", "y", "StatusCode.INVALID_ARGUMENT", "no input 'y'", id="unknown input"),
        pytest.param("fraud", "x", "StatusCode.INVALID_ARGUMENT", "FP32", id="another type"),
    ],
)
def test_errors_arrive_as_the_clients_own_exception(
    client: blocking.InferenceServerClient, model: str, name: str, code: str, said: str
) -> None:
    array = np.ones((1, 3), np.float64 if "FP32" in said else np.float32)

    with pytest.raises(InferenceServerException, match=said) as caught:
        client.infer(model, [tensor(name, array, "FP64" if "FP32" in said else "FP32")])

    assert caught.value.status() == code


def test_sequences_are_refused(client: blocking.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="sequence") as caught:
        client.infer("fraud", ones(1, 3), sequence_id=5, sequence_start=True)

    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def test_an_overloaded_server_is_out_of_resources(client: blocking.InferenceServerClient, engine: FakeEngine) -> None:
    engine.refuse = Overloaded("9 rows wait")
    try:
        with pytest.raises(InferenceServerException, match="9 rows wait") as caught:
            client.infer("fraud", ones(1, 3))
    finally:
        engine.refuse = None

    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_shared_memory_is_refused(client: blocking.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="not offered"):
        client.get_system_shared_memory_status()


def test_compressed_messages_are_taken(client: blocking.InferenceServerClient) -> None:
    result = client.infer("fraud", ones(100, 3), compression_algorithm="gzip")

    np.testing.assert_array_equal(result.as_numpy("y"), np.full((100, 3), 2))


def streamed(front: Front, requests: list[dict[str, Any]], replies: int, **options: Any) -> list[Any]:
    """Results and errors of one stream, as they came."""
    came: queue.Queue[Any] = queue.Queue()
    with blocking.InferenceServerClient(front.address) as client:
        client.start_stream(lambda result, error: came.put(error or result), **options)
        for request in requests:
            client.async_stream_infer("fraud", **request)
        found = [came.get(timeout=30) for _ in range(replies)]
        client.stop_stream()
    return found


def test_a_stream_answers_each_request_by_its_id(front: Front) -> None:
    requests = [
        {"inputs": [tensor("x", np.full((1, 3), n, np.float32), "FP32")], "request_id": str(n)} for n in range(20)
    ]

    found = streamed(front, requests, 20)

    values = {result.get_response().id: float(result.as_numpy("y")[0, 0]) for result in found}
    assert values == {str(n): 2.0 * n for n in range(20)}


def test_an_error_does_not_end_the_stream(front: Front) -> None:
    wrong = [tensor("z", np.ones((1, 3), np.float32), "FP32")]

    found = streamed(front, [{"inputs": wrong, "request_id": "a"}, {"inputs": ones(1, 3), "request_id": "b"}], 2)

    assert sorted(type(one).__name__ for one in found) == ["InferResult", "InferenceServerException"]
    assert "no input 'z'" in str(next(one for one in found if isinstance(one, InferenceServerException)))


def test_a_client_that_wants_it_gets_errors_as_the_streams_own(front: Front) -> None:
    wrong = [tensor("z", np.ones((1, 3), np.float32), "FP32")]

    (error,) = streamed(front, [{"inputs": wrong}], 1, headers={"triton_grpc_error": "true"})

    assert error.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_end_of_a_request_is_marked_for_clients_that_ask(front: Front, engine: FakeEngine) -> None:
    engine.parts = 3
    try:
        found = streamed(front, [{"inputs": ones(1, 3), "enable_empty_final_response": True}], 4)
    finally:
        engine.parts = 1

    # What has no mark at all is taken for the last part by Triton's C++ client.
    marks = [result.get_response().parameters for result in found]
    assert all("triton_final_response" in mark for mark in marks)
    assert [mark["triton_final_response"].bool_param for mark in marks] == [False, False, False, True]


def test_a_request_that_breaks_half_way_says_so(front: Front, engine: FakeEngine) -> None:
    engine.breaks = InvalidInput("too long")
    try:
        found = streamed(front, [{"inputs": ones(1, 3), "request_id": "q"}], 2)
    finally:
        engine.breaks = None

    assert "too long" in str(found[1])


def test_the_asyncio_client_works_concurrently(front: Front) -> None:
    async def ask(client: nonblocking.InferenceServerClient, number: int) -> float:
        made = nonblocking.InferInput("x", [1, 3], "FP32")
        made.set_data_from_numpy(np.full((1, 3), number, np.float32))
        result = await client.infer("fraud", [made])
        return float(result.as_numpy("y")[0, 0])

    async def many() -> list[float]:
        async with nonblocking.InferenceServerClient(front.address) as client:
            assert await client.is_server_ready()
            return list(await asyncio.gather(*(ask(client, number) for number in range(40))))

    assert asyncio.run(many()) == [2.0 * number for number in range(40)]


def test_the_asyncio_client_streams(front: Front) -> None:
    async def requests() -> Any:
        for number in range(5):
            made = nonblocking.InferInput("x", [1, 3], "FP32")
            made.set_data_from_numpy(np.full((1, 3), number, np.float32))
            yield {"model_name": "fraud", "inputs": [made], "request_id": str(number)}

    async def stream() -> dict[str, float]:
        async with nonblocking.InferenceServerClient(front.address) as client:
            found = {}
            async for result, error in client.stream_infer(requests()):
                assert error is None
                found[result.get_response().id] = float(result.as_numpy("y")[0, 0])
            return found

    assert asyncio.run(stream()) == {str(number): 2.0 * number for number in range(5)}
