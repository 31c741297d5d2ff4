"""Metadata, lists and errors, as the protocol writes them."""

from __future__ import annotations

import json

import orjson
import pytest

from mlserve import __version__
from mlserve.errors import InvalidInput, NotFound
from mlserve.serving.grpc.documents import index
from mlserve.serving.grpc.statuses import status_of
from mlserve.serving.oip.documents import (
    EXTENSIONS,
    failure,
    failure_text,
    model_metadata,
    model_names,
    repository_index,
    server_metadata,
    without_folders,
)
from mlserve.serving.seam import ModelState, ModelStatus
from tests.serving.fakes import doubling

MODELS = [
    ModelStatus("fraud", "1", ModelState.READY),
    ModelStatus("fraud", "2", ModelState.UNAVAILABLE, "it broke"),
    ModelStatus("new", None, ModelState.UNAVAILABLE, "no version in production yet"),
]


def test_the_server_says_who_it_is() -> None:
    assert json.loads(server_metadata()) == {
        "name": "mlserve",
        "version": __version__,
        "extensions": list(EXTENSIONS),
    }


def test_a_model_says_what_it_takes_and_gives() -> None:
    found = json.loads(model_metadata(doubling().view))

    assert found["name"] == "fraud"
    assert found["versions"] == ["1"]
    assert found["platform"] == "onnxruntime_onnx"
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert found["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
    assert found["properties"] == {"version": "1", "batchable": "true", "exactness": "none"}


def test_each_model_is_named_once() -> None:
    assert json.loads(model_names(MODELS)) == {"models": ["fraud", "new"]}


def test_the_index_is_a_bare_list_and_leaves_out_a_version_that_is_none() -> None:
    everything = json.loads(repository_index(MODELS, only_ready=False))

    assert everything[1] == {"name": "fraud", "version": "2", "state": "UNAVAILABLE", "reason": "it broke"}
    assert everything[2] == {"name": "new", "state": "UNAVAILABLE", "reason": "no version in production yet"}
    assert [line["version"] for line in json.loads(repository_index(MODELS, only_ready=True))] == ["1"]


def test_an_error_is_its_sentence_and_its_hint() -> None:
    assert json.loads(failure(InvalidInput("input 'y' is missing"))) == {"error": "input 'y' is missing"}
    assert json.loads(failure(NotFound("no model 'fruad'", hint="did you mean 'fraud'?"))) == {
        "error": "no model 'fruad' (did you mean 'fraud'?)"
    }


def test_a_sentence_that_is_no_unicode_is_still_told() -> None:
    assert json.loads(failure_text("no model '\ud800'")) == {"error": "no model '?'"}


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("'/srv/a b/iris.onnx' cannot be loaded", "'iris.onnx' cannot be loaded"),
        ("no file '/iris.onnx'", "no file 'iris.onnx'"),
        ("input 'a/b' has shape [1]", "input 'a/b' has shape [1]"),
        ("no model 'x' and no '/'", "no model 'x' and no '/'"),
    ],
)
def test_no_client_learns_where_the_server_keeps_its_files(sentence: str, told: str) -> None:
    failed = ModelStatus("iris", "1", ModelState.UNAVAILABLE, sentence)

    assert orjson.loads(failure(InvalidInput(sentence))) == {"error": told}
    assert orjson.loads(repository_index([failed], only_ready=False))[0]["reason"] == told
    assert status_of(InvalidInput(sentence), "id")[1] == told
    assert index([failed], only_ready=False).models[0].reason == told


@pytest.mark.parametrize("length", [100, 200_000])
def test_a_sentence_of_nothing_but_slashes_is_told_as_it_is(length: int) -> None:
    assert without_folders("'" + "/" * length) == "'" + "/" * length
