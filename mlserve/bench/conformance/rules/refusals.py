"""Requests that are wrong: each is refused as the client's mistake, with a sentence, and the server lives on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mlserve.bench.conformance.probe import UNKNOWN, Probe, ProbedModel
from mlserve.bench.conformance.tensors import json_input
from mlserve.bench.conformance.verdicts import Book, Level, RuleSkipped, expect

book = Book("refusals")

Spoiler = Callable[[ProbedModel, dict[str, Any]], Any]


def _first(**changes: Any) -> Spoiler:
    """Fields of the first input replaced, or taken out by None."""

    def spoil(model: ProbedModel, request: dict[str, Any]) -> Any:
        fields = request["inputs"][0] | changes
        request["inputs"][0] = {name: value for name, value in fields.items() if value is not None}
        return request

    return spoil


def _replaced(**fields: Any) -> Spoiler:
    return lambda model, request: request | fields


def _renamed(model: ProbedModel, request: dict[str, Any]) -> Any:
    request["inputs"][0]["name"] = "no-such-input"
    return request


def _surplus(model: ProbedModel, request: dict[str, Any]) -> Any:
    request["inputs"].append(request["inputs"][0] | {"name": "no-such-input"})
    return request


def _twice(model: ProbedModel, request: dict[str, Any]) -> Any:
    request["inputs"].append(request["inputs"][0])
    return request


def _fewer(model: ProbedModel, request: dict[str, Any]) -> Any:
    request["inputs"][0]["data"].pop()
    return request


def _more(model: ProbedModel, request: dict[str, Any]) -> Any:
    request["inputs"][0]["data"].append(request["inputs"][0]["data"][0])
    return request


def _missing(model: ProbedModel, request: dict[str, Any]) -> Any:
    del request["inputs"][-1]
    return request


def _rank(model: ProbedModel, request: dict[str, Any]) -> Any:
    request["inputs"][0]["shape"].append(1)
    return request


def _other_type(model: ProbedModel, request: dict[str, Any]) -> Any:
    own = request["inputs"][0]["datatype"]
    request["inputs"][0] |= {"datatype": "BYTES", "data": ["x"] * len(request["inputs"][0]["data"])}
    if own == "BYTES":
        request["inputs"][0] |= {"datatype": "FP32", "data": [1.0] * len(request["inputs"][0]["data"])}
    return request


def _of_kind(value: Any, *kinds: str) -> Spoiler:
    """One element replaced by what is none of the input's datatype."""

    def spoil(model: ProbedModel, request: dict[str, Any]) -> Any:
        if kinds and request["inputs"][0]["datatype"] not in kinds:
            raise RuleSkipped(f"needs a first input of {' or '.join(kinds)}")
        request["inputs"][0]["data"][0] = value
        return request

    return spoil


def _foreign(model: ProbedModel, request: dict[str, Any]) -> Any:
    own = request["inputs"][0]["datatype"]
    request["inputs"][0]["data"][0] = 7.5 if own == "BYTES" else "seven"
    return request


def _ragged(model: ProbedModel, request: dict[str, Any]) -> Any:
    data = request["inputs"][0]["data"]
    request["inputs"][0]["data"] = [data[:-1], [data[-1], data[-1]]]
    return request


_WRONG: tuple[tuple[str, Level, str, Spoiler], ...] = (
    ("no-json", Level.MUST, "a body that is not JSON", lambda model, request: b'{"inputs": ['),
    ("empty-body", Level.MUST, "an empty body", lambda model, request: b""),
    ("not-an-object", Level.MUST, "JSON that is no object", lambda model, request: [request]),
    ("not-utf8", Level.MUST, "a body that is not UTF-8", lambda model, request: b'{"id": "\xff\xfe", "inputs": []}'),
    ("no-inputs", Level.MUST, "a request without inputs", lambda model, request: {"id": "a-7"}),
    ("inputs-not-a-list", Level.MUST, "inputs that are no list", _replaced(inputs={"a": 1})),
    ("inputs-not-objects", Level.MUST, "inputs that are no objects", _replaced(inputs=["x", 3])),
    ("input-without-name", Level.MUST, "an input without a name", _first(name=None)),
    ("unknown-input", Level.MUST, "an input that the model does not have", _renamed),
    ("surplus-input", Level.MUST, "an input too many", _surplus),
    ("missing-input", Level.MUST, "a request that leaves out an input", _missing),
    ("input-twice", Level.SHOULD, "an input that comes twice", _twice),
    ("other-datatype", Level.MUST, "an input of another datatype than the model's", _other_type),
    ("unknown-datatype", Level.MUST, "a datatype that the protocol does not have", _first(datatype="FP31")),
    ("no-datatype", Level.MUST, "an input without a datatype", _first(datatype=None)),
    ("no-shape", Level.MUST, "an input without a shape", _first(shape=None)),
    ("shape-not-integers", Level.MUST, "a shape that is not of integers", _first(shape=["one", 2.5])),
    ("negative-dimension", Level.MUST, "a shape with a negative size", _first(shape=[-1, -1])),
    ("huge-dimension", Level.MUST, "a shape of more elements than 64 bits count", _first(shape=[2**62, 2**62])),
    ("other-rank", Level.MUST, "a shape of another rank than the model's", _rank),
    ("no-data", Level.MUST, "an input without data", _first(data=None)),
    ("too-few-elements", Level.MUST, "fewer elements than the shape says", _fewer),
    ("too-many-elements", Level.MUST, "more elements than the shape says", _more),
    ("ragged-data", Level.MUST, "nested data that is not of the shape", _ragged),
    ("foreign-element", Level.MUST, "an element of another kind", _foreign),
    ("null-element", Level.MUST, "an element that is null", _of_kind(None)),
    ("object-element", Level.MUST, "an element that is an object", _of_kind({"a": 1})),
    (
        "unknown-output",
        Level.MUST,
        "an output that the model does not have",
        _replaced(outputs=[{"name": "no-such-output"}]),
    ),
    ("outputs-not-a-list", Level.MUST, "outputs that are no list", _replaced(outputs="all")),
    ("id-not-text", Level.SHOULD, "an id that is no text", _replaced(id={"a": 1})),
    ("parameters-not-an-object", Level.SHOULD, "parameters that are no object", _replaced(parameters=[1])),
)


def _check(spoil: Spoiler) -> Callable[[Probe], None]:
    def check(probe: Probe) -> None:
        model = probe.model()
        probe.infer(model, spoil(model, model.request())).refusal()

    return check


for _name, _level, _what, _spoil in _WRONG:
    book.add(_name, _level, f"Refuses {_what}, with 4xx and an error", _check(_spoil))


@book.must("wrong-fixed-size")
def _fixed(probe: Probe) -> None:
    """Refuses a size other than the model's fixed one, with 4xx and an error."""
    model = probe.model(lambda model: any(size > 0 for size in model.inputs[0].shape), "a first input of a fixed size")
    tensor, *others = model.rows()
    at = next(place for place, size in enumerate(model.inputs[0].shape) if size > 0)
    shape = tensor.shape
    shape[at] *= 2
    doubled = json_input(tensor, shape=shape, data=tensor.flat() * 2)
    probe.infer(model, {"inputs": [doubled, *map(json_input, others)]}).refusal()


@book.should("out-of-range-integer")
def _range(probe: Probe) -> None:
    """Refuses an integer that its datatype does not hold, with 4xx and an error."""
    model, at = probe.taking("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32")
    request = model.request()
    request["inputs"][at]["data"][0] = 2**40
    probe.infer(model, request).refusal()


@book.should("fraction-for-integer")
def _fraction(probe: Probe) -> None:
    """Refuses a number with a fraction where an integer is due, with 4xx and an error."""
    model, at = probe.taking("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64")
    request = model.request()
    request["inputs"][at]["data"][0] = 1.5
    probe.infer(model, request).refusal()


@book.must("unknown-model")
def _unknown_model(probe: Probe) -> None:
    """Refuses inference on a model that does not exist, with 4xx and an error."""
    probe.http.post(f"/v2/models/{UNKNOWN}/infer", probe.model().request()).refusal()


@book.must("unknown-version")
def _unknown_version(probe: Probe) -> None:
    """Refuses inference on a version that does not exist, with 4xx and an error."""
    model = probe.model()
    probe.http.post(f"{model.path}/versions/987654321/infer", model.request()).refusal()


@book.must("deep-nesting")
def _deep(probe: Probe) -> None:
    """Refuses JSON that nests a hundred thousand deep, with 4xx, and lives on."""
    model = probe.model()
    deep = b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    probe.infer(model, deep).refusal()
    probe.infer(model, model.request()).expect(200)


@book.must("leave-the-server-well")
def _lives(probe: Probe) -> None:
    """After each wrong request a right one is answered."""
    model = probe.model()
    for name, _, _, spoil in _WRONG:
        try:
            body = spoil(model, model.request())
        except RuleSkipped:
            continue
        probe.infer(model, body)
        status = probe.infer(model, model.request()).status
        expect(status == 200, f"{status} after '{name}'")


@book.should("tell-nothing-of-the-inside")
def _inside(probe: Probe) -> None:
    """Errors show no traceback and no path of the server's disk."""
    model = probe.model()
    for name, _, _, spoil in _WRONG:
        try:
            body = spoil(model, model.request())
        except RuleSkipped:
            continue
        text = probe.infer(model, body).body.decode("utf-8", "replace")
        odd = next((mark for mark in ("Traceback", 'File "', "site-packages", "/usr/", "/home/") if mark in text), None)
        expect(odd is None, f"'{odd}' in the error to '{name}': {json.dumps(text[:160])}")
