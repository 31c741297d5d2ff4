"""The HTTP client against a server whose answers the tests choose."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    MlserveError,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    Unavailable,
    Unsupported,
    UsageError,
)
from mlserve.wiring.remote import Address, RemoteModel, is_url, parse_url, read_key

METADATA = {
    "name": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}
Replies = dict[str, tuple[int, Any]]
Start = Callable[[Replies], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start({"/path": (status, document or bytes)})`` is the URL of a server that answers so."""
    servers: list[HTTPServer] = []

    def begin(replies: Replies) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                status, document = replies.get(self.path, (404, {"error": f"no {self.path}"}))
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://h:1", Address("http://h:1", None, None)),
        ("http://h:1/", Address("http://h:1", None, None)),
        ("http://h/v2", Address("http://h", None, None)),
        ("https://h/edge/v2/models/a%20b", Address("https://h/edge", "a b", None)),
        ("http://h/v2/models/a/infer", Address("http://h", "a", None)),
        ("http://h/v2/models/a/versions/3/ready", Address("http://h", "a", "3")),
        ("http://[::1]:8000/v2/models/a", Address("http://[::1]:8000", "a", None)),
    ],
)
def test_a_url_names_a_server_a_model_or_a_version(text: str, address: Address) -> None:
    assert parse_url(text) == address
    assert is_url(text)


@pytest.mark.parametrize("text", ["http://", "ftp://h", "http://h:x", "http://h/v2/models", "http://h/v2/models/a/b"])
def test_another_url_is_misuse(text: str) -> None:
    with pytest.raises(UsageError):
        parse_url(text)


def test_the_signature_and_the_answers_come_from_the_server(start: Start) -> None:
    answer = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, float("nan")]}]}
    model = RemoteModel(
        parse_url(start({"/v2/models/m": (200, METADATA), "/v2/models/m/infer": (200, answer)}) + "/v2/models/m")
    )

    signature = model.signature()
    outputs = model.run({"x": np.array([[1, 2]], np.float32)}, {"x": DType.FLOAT32})
    model.close()

    assert signature == Signature(
        (TensorSpec("x", DType.FLOAT32, ("batch", 2)),), (TensorSpec("y", DType.FLOAT32, ("batch", 2)),)
    )
    assert outputs["y"].dtype == np.float32
    np.testing.assert_array_equal(outputs["y"], [[1.0, np.nan]])


def test_a_server_with_one_model_needs_no_name(start: Start) -> None:
    url = start({"/v2/repository/index": (200, [{"name": "m", "version": "1"}]), "/v2/models/m": (200, METADATA)})

    assert RemoteModel(parse_url(url)).signature().inputs[0].name == "x"


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ((200, [{"name": "a"}, {"name": "b"}]), "it serves a, b"),
        ((200, []), "it serves no model now"),
        ((404, {"error": "no such path"}), "names no model"),
        ((200, {"models": 1}), "names no model"),
    ],
)
def test_otherwise_the_model_must_be_named(start: Start, index: tuple[int, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RemoteModel(parse_url(start({"/v2/repository/index": index}))).signature()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (404, NotFound),
        (409, Conflict),
        (413, PayloadTooLarge),
        (429, Overloaded),
        (500, Unavailable),
        (501, Unsupported),
        (503, Unavailable),
        (504, DeadlineExceeded),
    ],
)
def test_a_refusal_is_our_error_in_the_servers_words(start: Start, status: int, kind: type[MlserveError]) -> None:
    url = start({"/v2/models/m": (status, {"error": "because"})})

    with pytest.raises(MlserveError, match="because") as caught:
        RemoteModel(parse_url(f"{url}/v2/models/m")).signature()

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((200, b"<html>"), "did not answer with JSON"),
        ((502, b"<html>"), "answered 502"),
        ((200, {"hello": 1}), "does not speak the Open Inference Protocol"),
        ((200, []), "does not speak the Open Inference Protocol"),
        ((200, b""), "does not speak the Open Inference Protocol"),
    ],
)
def test_a_server_of_another_kind_is_told(start: Start, reply: tuple[int, Any], said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        RemoteModel(parse_url(start({"/v2/models/m": reply}) + "/v2/models/m")).signature()


@pytest.mark.parametrize(
    "outputs", [None, [{"name": "y"}], [{"name": "y", "datatype": "FP32", "shape": [3], "data": [1]}]]
)
def test_an_answer_that_is_none_is_told(start: Start, outputs: Any) -> None:
    url = start({"/v2/models/m/infer": (200, {"outputs": outputs})})

    with pytest.raises(Unavailable, match="gave an answer that is none"):
        RemoteModel(parse_url(f"{url}/v2/models/m")).run({"x": np.ones((1, 2), np.float32)}, {"x": DType.FLOAT32})


def test_no_server_is_told() -> None:
    with pytest.raises(Unavailable, match=r"no answer from 'http://127\.0\.0\.1:1'"):
        RemoteModel(parse_url("http://127.0.0.1:1/v2/models/m")).signature()


@pytest.mark.parametrize(("said", "is_row_wise"), [("true", True), ("false", False), (None, True)])
def test_whether_rows_may_be_sent_apart_is_asked_of_the_server(
    start: Start, said: str | None, is_row_wise: bool
) -> None:
    metadata = METADATA | ({} if said is None else {"properties": {"batchable": said}})
    model = RemoteModel(parse_url(start({"/v2/models/m": (200, metadata)}) + "/v2/models/m"))

    assert model.is_row_wise(model.signature()) is is_row_wise


def test_a_key_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k-1\n", encoding="utf-8")

    assert read_key(tmp_path / "key") == "k-1"
    assert read_key(None) is None
    with pytest.raises(InvalidInput):
        read_key(tmp_path / "none")
