"""Inference with JSON: what a request may look like, and what its answer must."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mlserve.bench.conformance.probe import Probe, ProbedModel, same
from mlserve.bench.conformance.tensors import Tensor, json_input, outputs_of
from mlserve.bench.conformance.verdicts import Book, RuleSkipped, expect

book = Book("infer")

AT_ONCE = 24


@book.must("answers-a-request")
def _answers(probe: Probe) -> None:
    """A request with all inputs as JSON is answered with 200."""
    model = probe.model()
    probe.infer(model, model.request()).expect(200)


@book.must("answer-names-the-model")
def _names(probe: Probe) -> None:
    """An answer names the model."""
    model = probe.model()
    found = probe.infer(model, model.request()).document()
    expect(found.get("model_name") == model.name, f"'model_name' is {found.get('model_name')!r}")


@book.should("answer-names-the-version")
def _version(probe: Probe) -> None:
    """An answer names the version, as text and as metadata lists it."""
    model = probe.model()
    found = probe.infer(model, model.request()).document().get("model_version")
    expect(isinstance(found, str) and found in model.versions, f"'model_version' is {found!r}")


@book.must("outputs-hold-together")
def _outputs(probe: Probe) -> None:
    """Each output has name, datatype, shape, and as many elements of its datatype as its shape says."""
    for model in probe.models:
        probe.answer(model, model.request())
    probe.model()


@book.must("outputs-are-as-metadata-says")
def _as_metadata(probe: Probe) -> None:
    """Outputs have the datatypes and ranks that metadata says, and its sizes where they are not free."""
    for model in probe.models:
        promised = {meta.name: meta for meta in model.outputs}
        for tensor in probe.answer(model, model.request()):
            expect(tensor.name in promised, f"metadata of '{model.name}' has no output '{tensor.name}'")
            meta = promised[tensor.name]
            expect(tensor.datatype == meta.datatype, f"'{tensor.name}' is {tensor.datatype}, not {meta.datatype}")
            fits = len(tensor.shape) == len(meta.shape) and all(
                said in (-1, size) for said, size in zip(meta.shape, tensor.shape, strict=True)
            )
            expect(fits, f"'{tensor.name}' has shape {tensor.shape}, and metadata says {list(meta.shape)}")
    probe.model()


@book.must("without-outputs-all-come")
def _all(probe: Probe) -> None:
    """A request that asks for no output by name gets all."""
    model = probe.giving(2)
    found = {tensor.name for tensor in probe.answer(model, model.request())}
    missing = [meta.name for meta in model.outputs if meta.name not in found]
    expect(not missing, f"missing: {', '.join(missing)}")


@book.should("empty-outputs-are-all")
def _empty(probe: Probe) -> None:
    """An empty list of outputs is as none."""
    model = probe.model()
    found = probe.answer(model, model.request(outputs=[]))
    expect(len(found) == len(model.outputs), f"{len(found)} of {len(model.outputs)} outputs")


@book.must("one-output-comes-alone")
def _one(probe: Probe) -> None:
    """A request that asks for one output gets that one."""
    model = probe.giving(2)
    name = model.outputs[-1].name
    found = [tensor.name for tensor in probe.answer(model, model.request(outputs=[{"name": name}]))]
    expect(found == [name], f"asked for '{name}', and got {', '.join(found)}")


@book.should("outputs-come-in-the-order-asked")
def _order(probe: Probe) -> None:
    """Outputs come in the order in which they are asked for."""
    model = probe.giving(2)
    names = [meta.name for meta in reversed(model.outputs)]
    found = probe.answer(model, model.request(outputs=[{"name": name} for name in names]))
    expect([tensor.name for tensor in found] == names, f"{[tensor.name for tensor in found]} in place of {names}")


@book.must("nested-is-as-flat")
def _nested(probe: Probe) -> None:
    """Data may be nested as the shape says, and is then the same as flat."""
    model = probe.batchable()
    tensors = model.rows(2)
    nested = {"inputs": [json_input(tensor, data=tensor.nested()) for tensor in tensors]}
    same(probe.answer(model, model.request(2)), probe.answer(model, nested), "flat and nested data differ")


@book.must("inputs-come-in-any-order")
def _input_order(probe: Probe) -> None:
    """Inputs are told by their names, whatever their order."""
    model = probe.model(lambda model: len(model.inputs) > 1, "two inputs")
    turned = {"inputs": [json_input(tensor) for tensor in reversed(model.rows())]}
    same(probe.answer(model, model.request()), probe.answer(model, turned), "another answer for another order")


@book.must("same-again-is-the-same")
def _again(probe: Probe) -> None:
    """The same request gets the same answer."""
    model = probe.model()
    same(probe.answer(model, model.request()), probe.answer(model, model.request()), "two answers")


@book.must("a-row-is-the-same-in-a-batch")
def _batch(probe: Probe) -> None:
    """A row in a request of several is answered as it is alone."""
    model = probe.batchable()
    tensors = model.rows(3)
    whole = probe.answer(model, model.request(3))
    for row in range(3):
        alone = probe.answer(model, {"inputs": [json_input(tensor) for tensor in _slice(tensors, [row])]})
        same(alone, _slice(whole, [row]), f"row {row} alone and in a batch")


@book.must("rows-keep-their-order")
def _row_order(probe: Probe) -> None:
    """Rows are answered in the order in which they are sent."""
    model = probe.batchable()
    turned = probe.answer(model, {"inputs": [json_input(tensor) for tensor in _slice(model.rows(3), [2, 0, 1])]})
    same(_slice(probe.answer(model, model.request(3)), [2, 0, 1]), turned, "rows in another order")


@book.should("no-rows-are-no-fault-of-the-server")
def _no_rows(probe: Probe) -> None:
    """A request of zero rows is answered with zero rows, or refused as the client's mistake."""
    model = probe.batchable()
    reply = probe.infer(model, model.request(0))
    if reply.status == 200:
        found = outputs_of(reply)
        expect(all(tensor.shape[:1] == [0] for tensor in found), f"shapes {[tensor.shape for tensor in found]}")
    else:
        reply.refusal()


@book.must("id-comes-back")
def _id(probe: Probe) -> None:
    """The id of a request comes back in its answer."""
    model = probe.model()
    for sent in ("conform-1", "an id with späces"):
        found = probe.infer(model, model.request(id=sent)).document().get("id")
        expect(found == sent, f"sent '{sent}', and got {found!r}")


@book.should("no-id-is-made-up")
def _no_id(probe: Probe) -> None:
    """An answer has no id where the request had none."""
    model = probe.model()
    found = probe.infer(model, model.request()).document()
    expect(not found.get("id"), f"'id' is {found.get('id')!r}")


@book.must("by-version-as-by-name")
def _by_version(probe: Probe) -> None:
    """The path of a version answers with that version."""
    model = probe.model(lambda model: len(model.versions) > 0, "versions in its metadata")
    version = model.versions[-1]
    reply = probe.http.post(f"{model.path}/versions/{version}/infer", model.request())
    outputs_of(reply)
    found = reply.document().get("model_version")
    expect(found == version, f"'model_version' is {found!r}")


@book.must("content-type-is-not-needed")
def _content_type(probe: Probe) -> None:
    """A request without Content-Type is taken: Triton's own client sends none."""
    model = probe.model()
    probe.infer(model, model.request()).expect(200)


@book.should("content-type-is-not-looked-at")
def _other_type(probe: Probe) -> None:
    """JSON is taken whatever Content-Type it has."""
    model = probe.model()
    for kind in ("application/json; charset=utf-8", "application/octet-stream"):
        reply = probe.infer(model, model.request(), {"Content-Type": kind})
        expect(reply.status == 200, f"{reply.status} for '{kind}'")


@book.should("answer-is-json")
def _json(probe: Probe) -> None:
    """An answer in JSON has Content-Type application/json."""
    model = probe.model()
    found = probe.infer(model, model.request()).expect(200).headers.get("content-type", "")
    expect(found.startswith("application/json"), f"Content-Type is '{found}'")


@book.must("any-json-is-json")
def _spaced(probe: Probe) -> None:
    """White space, escapes and the order of fields change nothing."""
    model = probe.model()
    request = model.request(id="a-7")
    escaped = json.dumps(request, indent=2).replace('"inputs"', '"in\\u0070uts"').replace('"data"', '"d\\u0061ta"')
    same(
        probe.answer(model, request),
        probe.answer(model, f"\r\n\t {escaped}\n ".encode()),
        "with white space and escapes",
    )
    turned = {
        "inputs": [dict(reversed(one.items())) for one in request["inputs"]],
        "id": "a-7",
    }
    same(probe.answer(model, request), probe.answer(model, turned), "with fields in another order")


@book.must("numbers-may-have-exponents")
def _exponents(probe: Probe) -> None:
    """Floats may be written in any of JSON's ways: whole, with a fraction, with an exponent."""
    model, at = probe.taking("FP32", "FP64")
    tensors = model.rows()
    ones = [
        Tensor(one.name, one.datatype, np.ones_like(one.values)) if place == at else one
        for place, one in enumerate(tensors)
    ]
    plain = [json_input(tensor) for tensor in ones]
    expected = probe.answer(model, {"inputs": plain})
    for written in ("1", "1.0", "1e0", "10E-1", "0.1e+1"):
        data = ",".join([written] * ones[at].values.size)
        marked = [one | {"data": ["HERE"]} if place == at else one for place, one in enumerate(plain)]
        body = json.dumps({"inputs": marked}).replace('"HERE"', data)
        same(expected, probe.answer(model, body.encode()), f"1 written as {written}")


@book.should("nan-and-infinity-are-taken")
def _not_finite(probe: Probe) -> None:
    """The bare tokens NaN, Infinity and -Infinity are taken for floats, as Triton takes and writes them."""
    model, at = probe.taking("FP32", "FP64")
    for value in (float("nan"), float("inf"), float("-inf")):
        tensors = model.rows()
        tensors[at].values.reshape(-1)[:1] = value
        reply = probe.infer(model, {"inputs": [json_input(tensor) for tensor in tensors]})
        outputs_of(reply)


@book.must("text-is-unicode")
def _unicode(probe: Probe) -> None:
    """BYTES in JSON are texts in UTF-8 with any characters, escaped or not."""
    model, at = probe.taking("BYTES")
    tensors = model.rows()
    texts = tensors[at].values.reshape(-1)
    texts[:] = ["grün € 😀".encode()] * len(texts)
    request = {"inputs": [json_input(tensor) for tensor in tensors]}
    plain = json.dumps(request, ensure_ascii=False).encode()
    same(probe.answer(model, request), probe.answer(model, plain), "escaped text and plain")


@book.must("answers-go-to-their-requests")
def _at_once(probe: Probe) -> None:
    """Requests that are under way at once each get their own answer."""
    model = probe.batchable()
    rows = _rows_of(model)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        alone = [probe.answer(model, {"inputs": [json_input(one) for one in row]}) for row in rows]
        replies = list(
            pool.map(lambda number: _asked(probe, model, rows[number % len(rows)], number), range(AT_ONCE * 4))
        )
    for number, (sent, outputs) in enumerate(replies):
        expect(sent == f"at-once-{number}", f"request {number} got the answer to '{sent}'")
        same(alone[number % len(rows)], outputs, f"request {number} alone and among others")


def _rows_of(model: ProbedModel) -> list[list[Tensor]]:
    tensors = model.rows(4)
    return [_slice(tensors, [row]) for row in range(4)]


def _asked(probe: Probe, model: ProbedModel, row: list[Tensor], number: int) -> tuple[str, list[Tensor]]:
    reply = probe.infer(model, {"id": f"at-once-{number}", "inputs": [json_input(one) for one in row]})
    return str(reply.document().get("id")), outputs_of(reply)


def _slice(tensors: list[Tensor], rows: list[int]) -> list[Tensor]:
    if any(not tensor.shape for tensor in tensors):
        raise RuleSkipped("an output of the model has no rows")
    return [Tensor(tensor.name, tensor.datatype, tensor.values[rows]) for tensor in tensors]
