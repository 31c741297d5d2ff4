"""What Triton's Python clients rely on, row by row, with each of the four: HTTP and gRPC, blocking and asyncio.

The rows are those of a survey of the clients' source (tritonclient 2.73); a row is run with every client that has to do
with it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from mlserve.core.dtypes import DType
from mlserve.serving.seam import ModelState
from tests.serving.fakes import FakeEngine, FakeModel, doubling, echo, view_of
from tests.serving.grpc import fronts as grpc_fronts
from tests.serving.http import fronts as http_fronts

SPACED = "a name, 100 % ümlauts?"
EXTENSIONS = [
    "binary_tensor_data", "classification", "parameters", "schedule_policy", "model_repository",
    "model_repository(unload_dependents)", "model_configuration", "statistics",
]  # fmt: skip
CLIENTS = {
    "http": tritonclient.http,
    "http aio": tritonclient.http.aio,
    "grpc": tritonclient.grpc,
    "grpc aio": tritonclient.grpc.aio,
}
HTTP, GRPC, ALL = ("http", "http aio"), ("grpc", "grpc aio"), tuple(CLIENTS)


@dataclass
class Talk:
    """One client, and the engine that it reaches. ``ask`` calls any of its methods, and waits."""

    flavour: str
    address: str
    engine: FakeEngine

    @property
    def is_http(self) -> bool:
        return self.flavour in HTTP

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        module = CLIENTS[self.flavour]
        if not self.flavour.endswith("aio"):
            with module.InferenceServerClient(self.address) as client:
                return getattr(client, method)(*arguments, **options)

        async def asked() -> Any:
            async with module.InferenceServerClient(self.address) as client:
                return await getattr(client, method)(*arguments, **options)

        return asyncio.run(asked())

    def infer(
        self, model: str = "fraud", array: Any = None, outputs: Sequence[Any] | None = None, **options: Any
    ) -> Any:
        array = np.float32([[1, 2, 3]]) if array is None else array
        made = CLIENTS[self.flavour].InferInput("x", list(array.shape), "FP32")
        made.set_data_from_numpy(array)
        return self.ask("infer", model, [made], outputs=outputs, **options)

    def output(self, name: str, **options: Any) -> Any:
        return CLIENTS[self.flavour].InferRequestedOutput(name, **options)

    def refused(self, method: str, *arguments: Any, **options: Any) -> str:
        """The status of an answer that the client raises."""
        with pytest.raises(InferenceServerException) as caught:
            getattr(self, method)(*arguments, **options)
        return str(caught.value.status()).removeprefix("StatusCode.")


def two_outputs() -> FakeModel:
    view = view_of(
        {"x": (DType.FLOAT32, ("n", 3))}, {"total": (DType.FLOAT32, ("n",)), "y": (DType.FLOAT32, ("n", 3))}, name="two"
    )
    return FakeModel(view, lambda inputs: {"total": inputs["x"].sum(axis=1), "y": inputs["x"]})


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    engine = FakeEngine()
    for model in (doubling(), two_outputs(), doubling(name=SPACED), echo(DType.FLOAT32, name="wide")):
        engine.add(model)
    loading = doubling(name="loading")
    loading.view.state = ModelState.LOADING
    engine.add(loading)
    return engine


@pytest.fixture(scope="module")
def addresses(engine: FakeEngine) -> Iterator[dict[str, str]]:
    with http_fronts.fronting(engine) as over_http, grpc_fronts.fronting(engine) as over_grpc:
        yield {name: over_http.address if name in HTTP else over_grpc.address for name in CLIENTS}


def inputs_are_blobs_without_content_type(talk: Talk) -> None:
    np.testing.assert_array_equal(talk.infer().as_numpy("y"), [[2, 4, 6]])
    assert isinstance(talk.engine.answered[-1].inputs[0].values, np.ndarray)  # not the list that JSON brings


def outputs_are_blobs_unless_asked_otherwise(talk: Talk) -> None:
    assert talk.infer().get_output("y")["parameters"] == {"binary_data_size": 12}
    listed = talk.infer("two", outputs=[talk.output("y", binary_data=True), talk.output("total", binary_data=False)])
    assert listed.get_output("y")["parameters"] == {"binary_data_size": 12}
    assert listed.get_output("total")["data"] == [6]


def success_is_200_and_nothing_else(talk: Talk) -> None:
    talk.ask("load_model", "fraud")
    talk.ask("unload_model", "fraud")
    talk.ask("get_model_repository_index")
    talk.ask("get_server_metadata")
    talk.ask("get_model_metadata", "fraud")
    talk.ask("get_model_config", "fraud")
    talk.ask("get_inference_statistics", "fraud")


def errors_have_a_sentence_under_error(talk: Talk) -> None:
    with pytest.raises(InferenceServerException, match="no model 'nix'"):
        talk.infer("nix")
    with pytest.raises(InferenceServerException, match="no output 'z'"):
        talk.infer("two", outputs=[talk.output("z")])


def readiness_is_told_by_the_status(talk: Talk) -> None:
    assert talk.ask("is_server_live")
    assert talk.ask("is_server_ready")
    assert talk.ask("is_model_ready", "fraud", "1")
    talk.engine.ready = False
    try:
        assert not talk.ask("is_server_ready")
        assert not talk.ask("is_model_ready", "fraud")
    finally:
        talk.engine.ready = True


def the_index_is_a_bare_list(talk: Talk) -> None:
    found = talk.ask("get_model_repository_index")
    names = [line["name"] for line in found] if talk.is_http else [line.name for line in found.models]
    assert "fraud" in names


def blobs_are_sliced_in_the_order_of_outputs(talk: Talk) -> None:
    for wanted in (["total", "y"], ["y", "total"]):
        result = talk.infer("two", outputs=[talk.output(name) for name in wanted])
        np.testing.assert_array_equal(result.as_numpy("total"), [6])
        np.testing.assert_array_equal(result.as_numpy("y"), [[1, 2, 3]])


def names_are_percent_encoded(talk: Talk) -> None:
    np.testing.assert_array_equal(talk.infer(SPACED).as_numpy("y"), [[2, 4, 6]])
    assert talk.ask("is_model_ready", SPACED)
    metadata = talk.ask("get_model_metadata", SPACED)
    assert (metadata["name"] if talk.is_http else metadata.name) == SPACED


def tensors_are_answered_raw(talk: Talk) -> None:
    result = talk.infer()
    assert len(result.get_response().raw_output_contents) == 1
    made = CLIENTS[talk.flavour].InferInput("x", [1, 3], "FP32")
    # The client has no method for it, and other clients send their values like that.
    made._input.contents.fp32_contents.extend([1, 2, 3])
    typed = talk.ask("infer", "fraud", [made])
    np.testing.assert_array_equal(typed.as_numpy("y"), [[2, 4, 6]])


def messages_may_be_large(talk: Talk) -> None:
    array = np.ones((2, 1_000_000), np.float32)
    np.testing.assert_array_equal(talk.infer("wide", array).as_numpy("y"), array)


def parameters_keep_their_types(talk: Talk) -> None:
    talk.infer(priority=3, timeout=60_000_000, parameters={"mine": 1.5, "flag": True, "text": "a", "count": 7})
    request = talk.engine.answered[-1]
    assert request.priority == 3
    assert request.deadline_s is not None


def loads_name_the_model_and_its_configuration(talk: Talk) -> None:
    talk.ask("load_model", "fraud", config='{"version_policy": {"specific": {"versions": [3]}}}')
    talk.ask("unload_model", "fraud", unload_dependents=True)
    assert talk.engine.loads[-1] == ("fraud", [3])
    assert talk.engine.unloads[-1] == "fraud"


def streams_answer_with_stream_responses(talk: Talk) -> None:
    made = CLIENTS[talk.flavour].InferInput("x", [1, 3], "FP32")
    made.set_data_from_numpy(np.float32([[1, 2, 3]]))
    came: list[Any] = []
    if talk.flavour == "grpc":
        with tritonclient.grpc.InferenceServerClient(talk.address) as client:
            client.start_stream(lambda result, error: came.append((result, error)))
            client.async_stream_infer("fraud", [made], request_id="q")
            client.stop_stream()
    else:

        async def streamed() -> None:
            async def requests() -> Any:
                yield {"model_name": "fraud", "inputs": [made], "request_id": "q"}

            async with tritonclient.grpc.aio.InferenceServerClient(talk.address) as client:
                came.extend([pair async for pair in client.stream_infer(requests())])

        asyncio.run(streamed())
    ((result, error),) = came
    assert error is None
    assert result.get_response().id == "q"
    np.testing.assert_array_equal(result.as_numpy("y"), [[2, 4, 6]])


def the_service_has_its_own_name(talk: Talk) -> None:
    assert service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name == "inference.GRPCInferenceService"
    assert talk.ask("is_server_live")


def both_protocol_files_live_in_one_process(talk: Talk) -> None:
    ours, theirs = "import mlserve.protocol.messages", f"import tritonclient.{talk.flavour.replace(' ', '.')}"
    for first, second in ((ours, theirs), (theirs, ours)):
        subprocess.run([sys.executable, "-c", f"{first}\n{second}"], check=True, timeout=120)


def what_is_not_there_and_what_is_not_ready_differ(talk: Talk) -> None:
    assert talk.refused("infer", "nix") == ("404" if talk.is_http else "NOT_FOUND")
    assert talk.refused("infer", "loading") == ("503" if talk.is_http else "UNAVAILABLE")
    assert not talk.ask("is_model_ready", "loading")


def extensions_are_those_that_are_served(talk: Talk) -> None:
    metadata = talk.ask("get_server_metadata")
    assert list(metadata["extensions"] if talk.is_http else metadata.extensions) == EXTENSIONS
    assert talk.refused("ask", "get_system_shared_memory_status") == ("501" if talk.is_http else "UNIMPLEMENTED")
    assert talk.refused("infer", sequence_id=5) == ("501" if talk.is_http else "UNIMPLEMENTED")


Row = Callable[[Talk], None]

ROWS: dict[int, tuple[Row, Sequence[str]]] = {
    1: (inputs_are_blobs_without_content_type, HTTP),
    2: (outputs_are_blobs_unless_asked_otherwise, HTTP),
    3: (success_is_200_and_nothing_else, ALL),
    4: (errors_have_a_sentence_under_error, ALL),
    5: (readiness_is_told_by_the_status, ALL),
    6: (the_index_is_a_bare_list, ALL),
    7: (blobs_are_sliced_in_the_order_of_outputs, ALL),
    8: (names_are_percent_encoded, ALL),
    9: (tensors_are_answered_raw, GRPC),
    10: (messages_may_be_large, GRPC),
    11: (parameters_keep_their_types, ALL),
    12: (loads_name_the_model_and_its_configuration, ALL),
    13: (streams_answer_with_stream_responses, GRPC),
    14: (the_service_has_its_own_name, GRPC),
    15: (both_protocol_files_live_in_one_process, GRPC),
    16: (what_is_not_there_and_what_is_not_ready_differ, ALL),
    17: (extensions_are_those_that_are_served, ALL),
}


@pytest.mark.parametrize(
    ("row", "flavour"),
    [
        pytest.param(row, flavour, id=f"row {number} {row.__name__} {flavour}")
        for number, (row, flavours) in ROWS.items()
        for flavour in flavours
    ],
)
def test_clients_of_triton_find_what_they_rely_on(
    engine: FakeEngine, addresses: dict[str, str], row: Row, flavour: str
) -> None:
    row(Talk(flavour, addresses[flavour], engine))


def test_a_client_that_sends_no_content_type_is_understood_whatever_others_send(addresses: dict[str, str]) -> None:
    text = json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]})

    for kind in (None, "application/json", "application/octet-stream", "text/plain"):
        host, _, port = addresses["http"].partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("POST", "/v2/models/fraud/infer", text, {} if kind is None else {"Content-Type": kind})
        assert connection.getresponse().status == 200
        connection.close()
