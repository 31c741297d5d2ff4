"""Servers that are nearly right: each fault with the rule that finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlserve.bench.conformance.exchange import HEADER_LENGTH
from tests.bench.conformance.faulty import Answered, Asked, Fault

Going = Callable[[Asked, Answered], Answered]
Json = dict[str, Any]


def outputs(change: Callable[[Json], None]) -> Going:
    """Each output of an inference answer changed in place."""

    def going(asked: Asked, answered: Answered) -> Answered:
        if not asked.is_inference or answered.status != 200:
            return answered
        document = answered.document
        for output in document["outputs"]:
            change(output)
        return answered.with_document(document)

    return going


def document(path: str, change: Callable[[Any], Any]) -> Going:
    """The JSON of answers of 200 at a path's end replaced."""

    def going(asked: Asked, answered: Answered) -> Answered:
        if answered.status != 200 or not asked.path.endswith(path) or answered.document is None:
            return answered
        return answered.with_document(change(answered.document))

    return going


def each(field: str, path: str, change: Callable[[Json], Json]) -> Going:
    """The same for each object of a list in that JSON: what ``change`` gives replaces its fields."""
    return document(path, lambda found: found | {field: [one | change(one) for one in found[field]]})


def status(old: int, new: int) -> Going:
    return lambda asked, answered: replace(answered, status=new) if answered.status == old else answered


def errors(document: Json) -> Going:
    """Another JSON for whatever is no success."""
    return lambda asked, answered: answered if answered.status == 200 else answered.with_document(document)


def length(change: Callable[[Answered], int]) -> Going:
    """Another length of the JSON in the header."""
    return lambda asked, answered: replace(answered, headers=answered.headers | {HEADER_LENGTH: str(change(answered))})


def parameter(name: str) -> Callable[[Asked], Asked]:
    """Not looking at a parameter of the request and of its outputs."""

    def coming(asked: Asked) -> Asked:
        found = asked.document
        if not asked.is_inference or not isinstance(found, dict):
            return asked
        for part in (found, *(found.get("outputs") or ())):
            if isinstance(part, dict) and isinstance(part.get("parameters"), dict):
                part["parameters"].pop(name, None)
        return asked.with_document(found)

    return coming


def field(name: str) -> Callable[[Asked], Asked]:
    """Not looking at a field of the request."""

    def coming(asked: Asked) -> Asked:
        found = asked.document
        if not asked.is_inference or not isinstance(found, dict) or name not in found:
            return asked
        return asked.with_document({key: value for key, value in found.items() if key != name})

    return coming


def turn(output: Json) -> None:
    if "data" in output and output["shape"][:1] == [3]:
        size = len(output["data"]) // 3
        output["data"] = output["data"][size:] + output["data"][:size]


def shorten(output: Json) -> None:
    if output.get("data"):
        output["data"].pop()


def to_text(output: Json) -> None:
    if "data" in output:
        output["data"] = [str(value) for value in output["data"]]


def ready(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, status=200) if asked.path.endswith("/ready") else answered


def no_empty_index(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, status=422) if asked.path.endswith("/index") and not asked.body else answered


def no_plain(asked: Asked) -> Asked:
    """A server that goes by Content-Type, as many frameworks do."""
    known = asked.headers.get("content-type", "").startswith("application/json")
    return asked if known or not asked.is_inference else replace(asked, body=b"")


def magic(found: Json) -> Json:
    return found | ({"extensions": [*found["extensions"], "magic"]} if "extensions" in found else {})


def plain_text(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, headers=answered.headers | {"content-type": "text/plain"})


NEARLY_RIGHT = [
    (Fault("gives rows in another order", going=outputs(turn)), "infer.a-row-is-the-same-in-a-batch"),
    (Fault("loses an element", going=outputs(shorten)), "infer.outputs-hold-together"),
    (Fault("writes numbers as texts", going=outputs(to_text)), "infer.outputs-hold-together"),
    (
        Fault("calls outputs otherwise", going=outputs(lambda one: one.update(name="y0"))),
        "infer.outputs-are-as-metadata-says",
    ),
    (
        Fault("calls everything FP64", going=outputs(lambda one: one.update(datatype="FP64"))),
        "infer.outputs-are-as-metadata-says",
    ),
    (Fault("makes up ids", going=document("/infer", lambda found: found | {"id": "7"})), "infer.no-id-is-made-up"),
    (Fault("forgets ids", coming=field("id")), "infer.id-comes-back"),
    (
        Fault("has versions as numbers", going=document("/infer", lambda found: found | {"model_version": 1})),
        "infer.answer-names-the-version",
    ),
    (Fault("gives all outputs always", coming=field("outputs")), "infer.one-output-comes-alone"),
    (Fault("goes by Content-Type", coming=no_plain), "infer.content-type-is-not-needed"),
    (Fault("has no bytes for outputs", coming=parameter("binary_data")), "binary.output-as-bytes"),
    (Fault("has no default for bytes", coming=parameter("binary_data_output")), "binary.all-outputs-as-bytes"),
    (Fault("knows no classes", coming=parameter("classification")), "classification.classes-are-bytes"),
    (Fault("forgets sequences", coming=field("parameters")), "parameters.sequences-are-not-ignored"),
    (Fault("takes mistakes for its own", going=status(400, 500)), "refusals.missing-input"),
    (Fault("answers mistakes", going=status(400, 200)), "refusals.too-few-elements"),
    (Fault("has errors of another form", going=errors({"detail": "no"})), "refusals.no-json"),
    (
        Fault("tells its inside", going=errors({"error": 'File "/usr/lib/x.py"'})),
        "refusals.tell-nothing-of-the-inside",
    ),
    (Fault("has no 404", going=status(404, 400)), "models.unknown-model-is-404"),
    (Fault("finds everything ready", going=ready), "models.unknown-model-is-not-ready"),
    (
        Fault("wraps the index", going=document("/index", lambda found: {"models": found})),
        "repository.index-is-an-array",
    ),
    (Fault("needs a body for the index", going=no_empty_index), "repository.index-takes-an-empty-body"),
    (
        Fault("has counts as texts", going=each("model_stats", "/stats", lambda one: {"inference_count": "1"})),
        "statistics.have-their-fields",
    ),
    (
        Fault("counts nothing", going=each("model_stats", "/stats", lambda one: {"inference_count": 0})),
        "statistics.count-requests-and-rows",
    ),
    (
        Fault(
            "has seconds for milliseconds",
            going=each("model_stats", "/stats", lambda one: {"last_inference": one["last_inference"] // 1000}),
        ),
        "statistics.last-inference-is-now",
    ),
    (
        Fault("has dims with the batch", going=each("input", "/config", lambda one: {"dims": [-1, *one["dims"]]})),
        "configuration.dims-are-those-of-the-metadata",
    ),
    (
        Fault("says the wrong length", going=length(lambda answered: len(answered.body) + 1)),
        "binary.header-says-the-json-length",
    ),
    (
        Fault("says a length always", going=length(lambda answered: len(answered.body))),
        "binary.no-header-without-bytes",
    ),
    (Fault("calls everything text", going=plain_text), "infer.answer-is-json"),
    (Fault("advertises magic", going=document("/v2", magic)), "server.extensions-have-known-names"),
]
