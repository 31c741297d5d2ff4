"""Other protocols over the same models, where a server has them: KServe's V1, and Triton's generate extension."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import numpy as np

from mlserve.bench.conformance.probe import UNKNOWN, Probe, ProbedModel, same
from mlserve.bench.conformance.tensors import Tensor
from mlserve.bench.conformance.verdicts import Book, RuleBroken, RuleSkipped, expect

book = Book("v1")
generate = Book("generate")


def _v1(probe: Probe) -> tuple[ProbedModel, str]:
    """A model of one input and output with rows, and its V1 path. Raises RuleSkipped where V1 is not spoken."""
    model = probe.model(
        lambda model: model.is_batchable and len(model.inputs) == 1 and len(model.outputs) == 1,
        "rows, one input and one output",
    )
    path = f"/v1/models/{quote(model.name, safe='')}"
    if probe.http.get(path).status != 200:
        raise RuleSkipped("the server does not speak V1")
    return model, path


def _predictions(probe: Probe, body: Any) -> list[Any]:
    _, path = _v1(probe)
    found = probe.http.post(f"{path}:predict", body).document().get("predictions")
    if not isinstance(found, list):
        raise RuleBroken(f"'predictions' is {found!r}")
    return found


@book.should("ready")
def _ready(probe: Probe) -> None:
    """GET /v1/models/NAME says whether the model is ready, and its name."""
    model, path = _v1(probe)
    found = probe.http.get(path).document()
    expect(found.get("name") == model.name, f"'name' is {found.get('name')!r}")
    expect(str(found.get("ready")).lower() == "true", f"'ready' is {found.get('ready')!r}")


@book.should("list")
def _list(probe: Probe) -> None:
    """GET /v1/models lists the models."""
    model, _ = _v1(probe)
    found = probe.http.get("/v1/models").document().get("models")
    expect(isinstance(found, list) and model.name in found, f"'models' is {found!r}")


@book.should("predicts-as-v2-infers")
def _predict(probe: Probe) -> None:
    """Each instance has a prediction, the same as V2 gives for that row."""
    model, _ = _v1(probe)
    tensors = model.rows(3)
    (expected,) = probe.answer(model, model.request(3))
    found = _predictions(probe, {"instances": tensors[0].nested()})
    values = np.array(found, dtype=object if expected.datatype == "BYTES" else expected.values.dtype)
    if expected.datatype == "BYTES":
        values = np.vectorize(str.encode, otypes=[object])(values)
    same([expected], [Tensor(expected.name, expected.datatype, values.reshape(expected.shape))], "V2 and V1")


@book.should("refuses-an-unknown-model")
def _unknown(probe: Probe) -> None:
    """Refuses a model that does not exist with 404."""
    _v1(probe)
    probe.http.post(f"/v1/models/{UNKNOWN}:predict", {"instances": [1]}).expect(404)


@book.should("refuses-what-is-no-request")
def _odd(probe: Probe) -> None:
    """Refuses a body without instances, or that is not JSON, with 4xx."""
    _, path = _v1(probe)
    for body in (b"{", b"[]", b'{"examples": []}', b'{"instances": 3}'):
        status = probe.http.post(f"{path}:predict", body).status
        expect(400 <= status < 500, f"{status} for {body.decode()}")


def _fields(probe: Probe) -> tuple[ProbedModel, dict[str, Any]]:
    """A model, and a request of it as named values. Raises RuleSkipped where generate is not offered."""
    model = probe.model(
        lambda model: model.is_batchable and all(len(meta.shape) <= 2 for meta in model.inputs), "flat rows"
    )
    if probe.http.post(f"{model.path}/generate", {}).status in (404, 405, 501):
        raise RuleSkipped("the server does not offer generate")
    return model, {tensor.name: tensor.flat() for tensor in model.rows()}


@generate.should("answers-named-values")
def _generate(probe: Probe) -> None:
    """Named values are answered with the outputs as named values."""
    model, fields = _fields(probe)
    found = probe.http.post(f"{model.path}/generate", fields).document()
    missing = [meta.name for meta in model.outputs if meta.name not in found]
    expect(not missing, f"missing: {', '.join(missing)}")
    expect(found.get("model_name") == model.name, f"'model_name' is {found.get('model_name')!r}")


@generate.should("streams-events")
def _stream(probe: Probe) -> None:
    """generate_stream answers with server-sent events whose data is JSON."""
    model, fields = _fields(probe)
    reply = probe.http.post(f"{model.path}/generate_stream", fields).expect(200)
    kind = reply.headers.get("content-type", "")
    expect(kind.startswith("text/event-stream"), f"Content-Type is '{kind}'")
    events = [line for line in reply.body.decode().splitlines() if line.startswith("data:")]
    expect(bool(events), "no event")
    for event in events:
        json.loads(event.removeprefix("data:"))


@generate.should("refuses-what-is-no-request")
def _generate_odd(probe: Probe) -> None:
    """Refuses a body that is not JSON, with 4xx and an error."""
    model, _ = _fields(probe)
    for path in ("generate", "generate_stream"):
        probe.http.post(f"{model.path}/{path}", b"{").refusal()
