"""The front end on the real engine and real models, asked by Triton's client and over bare sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from mlserve.core.dtypes import DType
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.oip.leniently import LARGE_BYTES
from mlserve.serving.seam import Engine
from tests import models
from tests.serving.engines import IN_LANES, INLINE, GatedModel, World, gated_world, rows, world_of
from tests.serving.http.fronts import Front, fronting, read_all, until
from tests.serving.http.wire import Parsed, message, replies

INFER = "POST /v2/models/m/infer HTTP/1.1"

MODELS = {
    "classifier": models.classifier(),
    "labels and probabilities": models.labelled_classifier(),
    "two inputs": models.two_inputs(),
    "mixed columns": models.mixed_columns(),
    "strings": models.strings(),
    "a fixed shape": models.fixed_shape(),
    "a scalar": models.scalar(),
    "batch-dependent": models.batch_dependent(),
    "bool": models.echo(DType.BOOL),
    "uint8": models.echo(DType.UINT8),
    "float64": models.echo(DType.FLOAT64),
}


def direct(proto: onnx.ModelProto) -> OnnxModel:
    return load_model(proto.SerializeToString(), device="cpu", threads=ThreadPlan(1, 1))


@contextmanager
def serving(proto: onnx.ModelProto, **options: Any) -> Iterator[Front]:
    worlds: list[World] = []

    async def made() -> Engine:
        worlds.append(await world_of(proto, **options))
        return worlds[0].engine

    with fronting(made) as front:
        yield front
    worlds[0].close()


def text(array: np.ndarray[Any, Any], name: str = "x", datatype: str = "FP32", **fields: Any) -> str:
    tensor = {"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **fields})


def asked(front: Front, *bodies: str) -> list[Parsed]:
    """The replies to ``bodies``, sent in one piece on one connection."""
    sent = [message(body, start=INFER) for body in bodies[:-1]]
    with front.connect() as client:
        client.sendall(b"".join(sent) + message(bodies[-1], "Connection: close", start=INFER))
        return replies(read_all(client))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("binary", [True, False], ids=["blobs", "JSON"])
def test_clients_get_what_the_model_says(name: str, binary: bool) -> None:
    proto = MODELS[name]
    model = direct(proto)
    inputs = synthetic_inputs(model.signature, 3, seed=1)
    expected = model.run(inputs)

    tensors = []
    for spec in model.signature.inputs:
        tensor = triton.InferInput(spec.name, list(inputs[spec.name].shape), spec.dtype.served)
        tensor.set_data_from_numpy(inputs[spec.name], binary_data=binary)
        tensors.append(tensor)
    wanted = [triton.InferRequestedOutput(spec.name, binary_data=binary) for spec in model.signature.outputs]
    with serving(proto) as front, triton.InferenceServerClient(front.address) as client:
        assert client.get_model_metadata("m")["inputs"][0]["name"] == model.signature.inputs[0].name
        result = client.infer("m", tensors, outputs=wanted)

    for output, array in expected.items():
        found = result.as_numpy(output)
        if binary and array.dtype == object:
            found = np.vectorize(bytes.decode, otypes=[object])(found)
        np.testing.assert_array_equal(found.astype(array.dtype), array)


@pytest.mark.parametrize("costs", [INLINE, IN_LANES], ids=["on the loop", "in lanes"])
def test_a_row_gets_the_same_bytes_alone_and_in_any_batch(costs: Any) -> None:
    sent = rows(60)
    with serving(models.classifier(), costs=costs) as front:
        together = asked(front, *(text(row[None]) for row in sent))
        alone = [asked(front, text(row[None]))[0] for row in sent[::10]]
        (whole,) = asked(front, text(sent))

    assert [reply.body for reply in together[::10]] == [reply.body for reply in alone]
    flat = [value for reply in together for value in reply.json["outputs"][0]["data"]]
    assert flat == whole.json["outputs"][0]["data"]


def test_a_bad_request_among_good_ones_is_the_only_one_refused() -> None:
    good = text(np.array([[1, 2]]), datatype="INT8")
    bad = [
        text(np.array([[1, 300]]), datatype="INT8"),
        text(np.array([[1, 2, 3]]), datatype="INT8"),
        text(np.array([[1, 2]]), datatype="INT16"),
        text(np.array([[1, 2]]), name="y", datatype="INT8"),
        json.dumps({"inputs": []}),
        text(np.array([[1, 2]]), datatype="INT8").replace("[1, 2]}", "[1]}"),
    ]
    with serving(models.echo(DType.INT8)) as front:
        found = asked(front, *(body for one in bad for body in (one, good)))

    assert [reply.status for reply in found] == [400, 200] * len(bad)
    assert all(set(reply.json) == {"error"} for reply in found[::2])
    assert all(reply.json["outputs"][0]["data"] == [1, 2] for reply in found[1::2])


def test_unknown_models_and_versions_are_not_found() -> None:
    with serving(models.classifier()) as front, triton.InferenceServerClient(front.address) as client:
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(rows(1))
        for model, version in (("nix", ""), ("m", "9")):
            with pytest.raises(InferenceServerException) as caught:
                client.infer(model, [tensor], model_version=version)
            assert caught.value.status() == "404"
        assert client.is_model_ready("m", "1")
        assert not client.is_model_ready("m", "9")
        assert [(line["name"], line["state"]) for line in client.get_model_repository_index()] == [("m", "READY")]


def test_a_full_queue_and_a_passed_deadline_have_their_own_status() -> None:
    model = GatedModel()
    worlds: list[World] = []

    async def made() -> Engine:
        worlds.append(await gated_world(model, lanes=1, max_rows=1, max_queue_rows=2))
        return worlds[0].engine

    one = message(text(np.ones((1, 1))), "Connection: close", start=INFER)
    two = message(text(np.ones((2, 1))), "Connection: close", start=INFER)
    hasty = message(text(np.ones((1, 1)), parameters={"timeout": 1}), "Connection: close", start=INFER)
    with fronting(made) as front:
        running, late, waiting, refused = (front.connect() for _ in range(4))
        running.sendall(one)
        assert model.started.acquire(timeout=60)
        late.sendall(hasty)
        (expired,) = replies(read_all(late))
        queue = worlds[0].repository.find("m", None).queue
        waiting.sendall(two)
        front.on_loop(lambda: until(lambda: queue.rows + queue.later_rows == 2))
        refused.sendall(one)
        (overloaded,) = replies(read_all(refused))
        model.gate.set()
        answered = [replies(read_all(client))[0] for client in (running, waiting)]
        for client in (running, late, waiting, refused):
            client.close()
    worlds[0].close()

    assert expired.status == 504
    assert overloaded.status == 429
    assert overloaded.headers["retry-after"] == "1"
    assert [reply.json["outputs"][0]["data"] for reply in answered] == [[1.0], [1.0, 1.0]]


@pytest.mark.parametrize("padding", [0, LARGE_BYTES], ids=["small", "large"])
@pytest.mark.parametrize(
    ("dtype", "number", "status"),
    [
        pytest.param(DType.FLOAT32, "3.4028235e38", 200, id="the largest FP32"),
        pytest.param(DType.FLOAT32, "3.4028236e38", 400, id="beyond FP32"),
        pytest.param(DType.FLOAT32, "-1e39", 400, id="far below FP32"),
        pytest.param(DType.FLOAT32, "1" + "0" * 308, 400, id="an integer beyond FP32"),
        pytest.param(DType.FLOAT32, "-Infinity", 200, id="a token"),
        pytest.param(DType.FLOAT64, "1e308", 200, id="FP64"),
        pytest.param(DType.FLOAT64, "1e309", 400, id="beyond FP64"),
        pytest.param(DType.FLOAT16, "65519", 200, id="the largest FP16"),
        pytest.param(DType.FLOAT16, "65520", 400, id="beyond FP16"),
    ],
)
def test_a_number_out_of_range_is_refused_and_a_token_is_not(
    dtype: DType, number: str, status: int, padding: int
) -> None:
    good = text(np.array([[7, 8]]), datatype=str(dtype.oip))
    doubtful = good.replace("[7, 8]", f"[7, {number}]") + " " * padding
    with serving(models.echo(dtype)) as front:
        before, answer, after = asked(front, good, doubtful, good)

    assert (before.status, answer.status, after.status) == (200, status, 200)
    assert status == 200 or "range" in answer.json["error"]
