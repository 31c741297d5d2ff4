"""The binary tensor extension: bytes behind the JSON, both ways."""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from mlserve.bench.conformance.exchange import HEADER_LENGTH
from mlserve.bench.conformance.probe import Probe, ProbedModel, same
from mlserve.bench.conformance.tensors import (
    binary_request,
    framed,
    json_input,
    json_request,
    outputs_of,
    split_reply,
)
from mlserve.bench.conformance.verdicts import Book, RuleSkipped, expect

book = Book("binary", extension="binary_tensor_data")

ALL = {"binary_data_output": True}


def _numeric(probe: Probe) -> tuple[ProbedModel, int]:
    return probe.taking("FP32", "FP64", "INT64", "INT32", "UINT8")


def _is_binary(fields: dict[str, Any]) -> bool:
    return "binary_data_size" in (fields.get("parameters") or {})


@book.must("inputs-as-bytes")
def _inputs(probe: Probe) -> None:
    """Inputs as bytes are the same as inputs in JSON."""
    model = probe.model()
    tensors = model.rows()
    same(probe.answer(model, json_request(tensors)), probe.answer(model, *binary_request(tensors)), "JSON and bytes")


@book.must("output-as-bytes")
def _output(probe: Probe) -> None:
    """An output asked for with binary_data comes as bytes, the same as in JSON."""
    model = probe.model()
    name = model.outputs[0].name
    in_json = probe.answer(model, model.request(outputs=[{"name": name}]))
    reply = probe.infer(model, model.request(outputs=[{"name": name, "parameters": {"binary_data": True}}]))
    expect(_is_binary(split_reply(reply)[0]["outputs"][0]), "the output came as JSON")
    same(in_json, outputs_of(reply), "JSON and bytes")


@book.must("all-outputs-as-bytes")
def _all(probe: Probe) -> None:
    """The request parameter binary_data_output makes all outputs bytes."""
    model = probe.model()
    reply = probe.infer(model, model.request(parameters=ALL))
    in_json = [fields["name"] for fields in split_reply(reply)[0]["outputs"] if not _is_binary(fields)]
    expect(not in_json, f"as JSON: {', '.join(in_json)}")
    same(probe.answer(model, model.request()), outputs_of(reply), "JSON and bytes")


@book.must("an-output-overrides-the-default")
def _override(probe: Probe) -> None:
    """An output's own binary_data overrides the request's binary_data_output."""
    model = probe.model()
    name = model.outputs[0].name
    request = model.request(outputs=[{"name": name, "parameters": {"binary_data": False}}], parameters=ALL)
    expect(not _is_binary(split_reply(probe.infer(model, request))[0]["outputs"][0]), "the output came as bytes")


@book.must("outputs-of-both-kinds")
def _both_outputs(probe: Probe) -> None:
    """Of two outputs one may come as bytes and the other as JSON."""
    model = probe.giving(2)
    first, second = (meta.name for meta in model.outputs[:2])
    asked = [{"name": first}, {"name": second, "parameters": {"binary_data": True}}]
    reply = probe.infer(model, model.request(outputs=asked))
    kinds = [_is_binary(fields) for fields in split_reply(reply)[0]["outputs"]]
    expect(kinds == [False, True], f"as bytes: {kinds}")
    plain = probe.answer(model, model.request(outputs=[{"name": first}, {"name": second}]))
    same(plain, outputs_of(reply), "JSON and both kinds")


@book.must("inputs-of-both-kinds")
def _both_inputs(probe: Probe) -> None:
    """Of two inputs one may come as bytes and the other as JSON."""
    model = probe.model(lambda model: len(model.inputs) > 1, "two inputs")
    tensors = model.rows()
    for as_json in ([tensors[0].name], [tensors[-1].name]):
        mixed = probe.answer(model, *binary_request(tensors, as_json))
        same(probe.answer(model, json_request(tensors)), mixed, f"JSON, and only {as_json[0]} as JSON")


@book.must("bytes-follow-the-outputs-order")
def _order(probe: Probe) -> None:
    """The bytes of outputs come in the order of the outputs in the answer."""
    model = probe.giving(2)
    names = [meta.name for meta in reversed(model.outputs)]
    asked = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    found = {tensor.name: tensor for tensor in probe.answer(model, model.request(outputs=asked))}
    plain = probe.answer(model, model.request())
    same(plain, [found[tensor.name] for tensor in plain], "JSON, and bytes in turned order")


@book.must("header-says-the-json-length")
def _header(probe: Probe) -> None:
    """An answer with bytes says the length of its JSON in Inference-Header-Content-Length."""
    model = probe.model()
    reply = probe.infer(model, model.request(parameters=ALL)).expect(200)
    expect(HEADER_LENGTH in reply.headers, "the header is missing")
    split_reply(reply)


@book.must("no-header-without-bytes")
def _no_header(probe: Probe) -> None:
    """An answer without bytes has no Inference-Header-Content-Length."""
    model = probe.model()
    reply = probe.infer(model, model.request()).expect(200)
    expect(HEADER_LENGTH not in reply.headers, f"the header is {reply.headers.get(HEADER_LENGTH)}")


@book.should("answer-is-octet-stream")
def _type(probe: Probe) -> None:
    """An answer with bytes has Content-Type application/octet-stream."""
    model = probe.model()
    found = probe.infer(model, model.request(parameters=ALL)).expect(200).headers.get("content-type", "")
    expect(found.startswith("application/octet-stream"), f"Content-Type is '{found}'")


@book.must("sizes-are-those-of-shapes")
def _sizes(probe: Probe) -> None:
    """binary_data_size is the product of shape and element size, and no output has data beside it."""
    for model in probe.models:
        probe.answer(model, model.request(parameters=ALL))
    probe.model()


@book.must("header-may-cover-the-whole-body")
def _only_json(probe: Probe) -> None:
    """A request all in JSON may have the header too."""
    model = probe.model()
    same(probe.answer(model, model.request()), probe.answer(model, *framed(model.request(), b"")), "with the header")


@book.must("raw-request")
def _raw(probe: Probe) -> None:
    """With a header length of 0 the whole body is the model's one input."""
    model = probe.model(
        lambda model: (
            len(model.inputs) == 1
            and model.inputs[0].datatype != "BYTES"
            and list(model.inputs[0].shape).count(-1) <= 1
        ),
        "one numeric input and at most one free dimension",
    )
    tensors = model.rows()
    found = probe.answer(model, tensors[0].raw(), {HEADER_LENGTH: "0"})
    same(probe.answer(model, json_request(tensors)), found, "JSON and a raw request")


@book.must("raw-answer-is-bytes")
def _raw_answer(probe: Probe) -> None:
    """A raw request is answered in bytes."""
    model = probe.model(
        lambda model: (
            len(model.inputs) == 1
            and model.inputs[0].datatype != "BYTES"
            and list(model.inputs[0].shape).count(-1) <= 1
        ),
        "one numeric input and at most one free dimension",
    )
    document, _ = split_reply(probe.infer(model, model.rows()[0].raw(), {HEADER_LENGTH: "0"}))
    expect(all(map(_is_binary, document["outputs"])), "an output came as JSON")


@book.must("too-few-bytes")
def _short(probe: Probe) -> None:
    """Refuses a body that is shorter than its inputs say."""
    model, _ = _numeric(probe)
    body, headers = binary_request(model.rows())
    probe.infer(model, body[:-1], headers).refusal()


@book.must("too-many-bytes")
def _long(probe: Probe) -> None:
    """Refuses bytes that belong to no input."""
    model, _ = _numeric(probe)
    body, headers = binary_request(model.rows())
    probe.infer(model, body + b"\0\0\0\0", headers).refusal()


@book.must("header-beyond-the-body")
def _beyond(probe: Probe) -> None:
    """Refuses a header length beyond the body."""
    model = probe.model()
    body, headers = binary_request(model.rows())
    probe.infer(model, body, headers | {HEADER_LENGTH: str(len(body) + 1)}).refusal()


@book.must("header-not-a-length")
def _odd_header(probe: Probe) -> None:
    """Refuses a header length that is negative or no number."""
    model = probe.model()
    body, headers = binary_request(model.rows())
    for odd in ("-1", "ten", "1e2", "99999999999999999999999999"):
        probe.infer(model, body, headers | {HEADER_LENGTH: odd}).refusal()


@book.must("header-within-the-json")
def _within(probe: Probe) -> None:
    """Refuses a header length that cuts the JSON."""
    model = probe.model()
    body, headers = binary_request(model.rows())
    probe.infer(model, body, headers | {HEADER_LENGTH: str(int(headers[HEADER_LENGTH]) - 1)}).refusal()


@book.must("size-against-shape")
def _size(probe: Probe) -> None:
    """Refuses a binary_data_size that is not that of the shape."""
    model, at = _numeric(probe)
    tensors = model.rows()
    tensor = tensors[at]
    wrong = json_input(tensor, data=None, parameters={"binary_data_size": len(tensor.raw()) * 2})
    others = [json_input(one) for one in tensors if one is not tensor]
    probe.infer(model, *framed({"inputs": [wrong, *others]}, tensor.raw() * 2)).refusal()


@book.must("size-not-a-length")
def _odd_size(probe: Probe) -> None:
    """Refuses a binary_data_size that is negative or no integer."""
    model, at = _numeric(probe)
    tensors = model.rows()
    others = [json_input(one) for one in tensors if one is not tensors[at]]
    for odd in (-4, 2**63, "4", 1.5):
        wrong = json_input(tensors[at], data=None, parameters={"binary_data_size": odd})
        probe.infer(model, *framed({"inputs": [wrong, *others]}, tensors[at].raw())).refusal()


@book.must("data-and-bytes")
def _doubly(probe: Probe) -> None:
    """Refuses an input with both data and binary_data_size."""
    model, at = _numeric(probe)
    tensors = model.rows()
    others = [json_input(one) for one in tensors if one is not tensors[at]]
    wrong = json_input(tensors[at], parameters={"binary_data_size": len(tensors[at].raw())})
    probe.infer(model, *framed({"inputs": [wrong, *others]}, tensors[at].raw())).refusal()


@book.must("texts-have-their-lengths")
def _texts(probe: Probe) -> None:
    """Refuses BYTES whose lengths do not fit into the bytes there are."""
    model, at = probe.taking("BYTES")
    tensors = model.rows()
    count = prod(tensors[at].shape)
    others = [json_input(one) for one in tensors if one is not tensors[at]]
    for blob in (
        struct.pack("<I", 2**32 - 1) + b"abc",
        b"\x01",
        struct.pack("<I", 1) + b"a" * 2,
        b"\0\0\0\0" * (count + 1),
    ):
        wrong = json_input(tensors[at], data=None, parameters={"binary_data_size": len(blob)})
        probe.infer(model, *framed({"inputs": [wrong, *others]}, blob)).refusal()


@book.must("truth-is-one-byte")
def _truth(probe: Probe) -> None:
    """BOOL is a byte an element."""
    model, at = probe.taking("BOOL")
    tensors = model.rows()
    if len(tensors[at].raw()) != prod(tensors[at].shape):
        raise RuleSkipped("no elements")
    same(probe.answer(model, json_request(tensors)), probe.answer(model, *binary_request(tensors)), "JSON and bytes")
    others = [json_input(one) for one in tensors if one is not tensors[at]]
    four = tensors[at].raw() * 4
    wrong = json_input(tensors[at], data=None, parameters={"binary_data_size": len(four)})
    probe.infer(model, *framed({"inputs": [wrong, *others]}, four)).refusal()


@book.must("bad-bytes-leave-the-server-well")
def _lives(probe: Probe) -> None:
    """After requests whose bytes do not fit a right one is answered."""
    model = probe.model()
    body, headers = binary_request(model.rows())
    for odd in ("0", "1", str(len(body) * 2)):
        probe.infer(model, body, headers | {HEADER_LENGTH: odd})
        probe.infer(model, body, headers).expect(200)
