"""Triton's own HTTP client, unmodified, against the front end: as JSON and as blobs, blocking and asyncio."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as blocking
import tritonclient.http.aio as nonblocking
from tritonclient.utils import InferenceServerException

from mlserve.core.dtypes import DType
from mlserve.errors import Overloaded
from tests.serving.fakes import FakeEngine, FakeModel, doubling, echo, view_of
from tests.serving.http.fronts import Front, fronting

DTYPES = [
    DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BOOL, DType.STRING, DType.INT8, DType.INT16, DType.INT32,
    DType.INT64, DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64, DType.BFLOAT16,
]  # fmt: skip


def two_outputs() -> FakeModel:
    view = view_of(
        {"a": (DType.FLOAT32, ("batch", 2)), "b": (DType.INT64, ("batch", 1))},
        {"total": (DType.FLOAT32, ("batch",)), "b": (DType.INT64, ("batch", 1))},
        name="two outputs",
    )
    return FakeModel(view, lambda inputs: {"total": inputs["a"].sum(axis=1), "b": inputs["b"]})


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add(doubling())
    engine.add(two_outputs())
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


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str, *, binary: bool) -> blocking.InferInput:
    made = blocking.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def sample(dtype: DType) -> np.ndarray[Any, Any]:
    if dtype is DType.STRING:
        return np.array([["a", "ä"], ["", '"']], dtype=object)
    if dtype is DType.BOOL:
        return np.array([[True, False], [False, True]])
    low = 0 if dtype.value.startswith("u") else -3
    return np.array([[low, 1], [2, 3]], dtype=dtype.numpy)


def ways() -> Iterator[Any]:
    """Each type as blob and as JSON, in and out; the client itself has no 16-bit floats as JSON."""
    for dtype, sent, wanted in itertools.product(DTYPES, ("blob", "JSON"), ("blob", "JSON")):
        if (sent, wanted) == ("blob", "blob") or dtype not in (DType.FLOAT16, DType.BFLOAT16):
            yield pytest.param(dtype, sent == "blob", wanted == "blob", id=f"{dtype} {sent} in {wanted} out")


@pytest.mark.parametrize(("dtype", "sent", "wanted"), list(ways()))
def test_every_type_goes_there_and_back(
    client: blocking.InferenceServerClient, dtype: DType, sent: bool, wanted: bool
) -> None:
    array = sample(dtype)

    result = client.infer(
        dtype.value,
        [tensor("x", array, dtype.served, binary=sent)],
        outputs=[blocking.InferRequestedOutput("y", binary_data=wanted)],
    )

    found = result.as_numpy("y")
    if found.dtype == object and wanted:
        found = np.array([[value.decode() for value in line] for line in found], dtype=object)
    np.testing.assert_array_equal(found.astype(array.dtype), array)


@pytest.mark.parametrize("binary", [True, False], ids=["blobs", "JSON"])
def test_several_inputs_and_outputs_keep_their_places(client: blocking.InferenceServerClient, binary: bool) -> None:
    a, b = np.array([[1, 2], [3, 4]], np.float32), np.array([[7], [8]])

    result = client.infer(
        "two outputs",
        [tensor("b", b, "INT64", binary=binary), tensor("a", a, "FP32", binary=not binary)],
        request_id="r-7",
        outputs=[blocking.InferRequestedOutput("b"), blocking.InferRequestedOutput("total", binary_data=False)],
    )

    assert result.get_response()["id"] == "r-7"
    np.testing.assert_array_equal(result.as_numpy("total"), [3, 7])
    np.testing.assert_array_equal(result.as_numpy("b"), b)


def test_without_named_outputs_all_come_as_blobs(client: blocking.InferenceServerClient) -> None:
    result = client.infer("fraud", [tensor("x", np.ones((2, 3), np.float32), "FP32", binary=True)], model_version="1")

    assert result.get_output("y")["parameters"] == {"binary_data_size": 24}
    np.testing.assert_array_equal(result.as_numpy("y"), np.full((2, 3), 2))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_taken(client: blocking.InferenceServerClient, algorithm: str) -> None:
    result = client.infer(
        "fraud",
        [tensor("x", np.ones((1, 3), np.float32), "FP32", binary=True)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )

    np.testing.assert_array_equal(result.as_numpy("y"), [[2, 2, 2]])


def test_health_metadata_and_index_are_what_the_client_expects(client: blocking.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("two outputs", "1")
    assert not client.is_model_ready("nix")
    assert client.get_server_metadata()["name"] == "mlserve"
    assert client.get_model_metadata("fraud")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert "fraud" in [line["name"] for line in client.get_model_repository_index()]


@pytest.mark.parametrize(
    ("model", "shape", "name", "status", "said"),
    [
        pytest.param("nix", [1, 3], "x", "404", "no model 'nix'", id="unknown model"),
        pytest.param("fraud", [1, 3], "y", "400", "no input 'y'", id="unknown input"),
    ],
)
def test_errors_arrive_as_the_client_s_own_exception(
    client: blocking.InferenceServerClient, model: str, shape: list[int], name: str, status: str, said: str
) -> None:
    with pytest.raises(InferenceServerException, match=said) as caught:
        client.infer(model, [tensor(name, np.ones(shape, np.float32), "FP32", binary=True)])

    assert caught.value.status() == status


def test_an_overloaded_server_is_429(client: blocking.InferenceServerClient, engine: FakeEngine) -> None:
    engine.refuse = Overloaded("9 rows wait")
    try:
        with pytest.raises(InferenceServerException, match="9 rows wait") as caught:
            client.infer("fraud", [tensor("x", np.ones((1, 3), np.float32), "FP32", binary=True)])
    finally:
        engine.refuse = None

    assert caught.value.status() == "429"


def test_the_asyncio_client_works_concurrently(front: Front) -> None:
    async def ask(client: nonblocking.InferenceServerClient, number: int) -> float:
        array = np.full((1, 3), number, np.float32)
        made = nonblocking.InferInput("x", [1, 3], "FP32")
        made.set_data_from_numpy(array, binary_data=number % 2 == 0)
        result = await client.infer("fraud", [made])
        return float(result.as_numpy("y")[0, 0])

    async def many() -> list[float]:
        async with nonblocking.InferenceServerClient(front.address) as client:
            assert await client.is_server_ready()
            return list(await asyncio.gather(*(ask(client, number) for number in range(40))))

    assert asyncio.run(many()) == [2.0 * number for number in range(40)]


def test_a_large_answer_comes_back_compressed(client: blocking.InferenceServerClient) -> None:
    ones = np.ones((500, 3), np.float32)

    result = client.infer(
        "fraud",
        [tensor("x", ones, "FP32", binary=True)],
        outputs=[blocking.InferRequestedOutput("y", binary_data=True)],
        response_compression_algorithm="gzip",
    )

    np.testing.assert_array_equal(result.as_numpy("y"), 2 * ones)


@pytest.mark.parametrize("binary", [True, False], ids=["blobs", "JSON"])
def test_classes_are_read_as_texts(client: blocking.InferenceServerClient, binary: bool) -> None:
    wanted = blocking.InferRequestedOutput("y", binary_data=binary, class_count=2)

    result = client.infer("fraud", [tensor("x", np.float32([[1, 3, 2]]), "FP32", binary=True)], outputs=[wanted])

    found = [value.decode() if isinstance(value, bytes) else value for value in result.as_numpy("y").ravel()]
    assert found == ["6.0:1", "4.0:2"]


def test_priority_and_timeout_are_taken(client: blocking.InferenceServerClient) -> None:
    result = client.infer(
        "fraud", [tensor("x", np.ones((1, 3), np.float32), "FP32", binary=True)], priority=1, timeout=60_000_000
    )

    np.testing.assert_array_equal(result.as_numpy("y"), [[2, 2, 2]])


def test_sequences_are_refused(client: blocking.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="sequence"):
        client.infer(
            "fraud", [tensor("x", np.ones((1, 3), np.float32), "FP32", binary=True)], sequence_id=5, sequence_start=True
        )


def test_configuration_statistics_and_model_control_answer(
    client: blocking.InferenceServerClient, engine: FakeEngine
) -> None:
    assert client.get_model_config("fraud")["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]
    assert client.get_inference_statistics("fraud") == {"model_stats": []}
    client.load_model("fraud", config='{"version_policy": {"specific": {"versions": [3]}}}')
    client.unload_model("fraud")

    assert engine.loads[-1] == ("fraud", [3])
    assert engine.unloads[-1] == "fraud"


def test_the_asyncio_client_controls_models_too(front: Front, engine: FakeEngine) -> None:
    async def control() -> Any:
        async with nonblocking.InferenceServerClient(front.address) as client:
            await client.load_model("fraud")
            await client.unload_model("fraud")
            return await client.get_model_repository_index()

    assert "fraud" in [line["name"] for line in asyncio.run(control())]
    assert engine.loads[-1] == ("fraud", None)
