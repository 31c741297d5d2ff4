"""How bodies come: in chunks, compressed, announced, as blobs, or too large."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest

from mlserve.serving.http.limits import Limits
from tests.serving.fakes import FakeEngine
from tests.serving.http.wire import GET, INFER, Client, data_of, message, row


def test_a_body_may_come_in_chunks(client: Client) -> None:
    body = row(1, 2, 3).encode()
    head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    client.send(head, b"5\r\n" + body[:5] + b"\r\n", b"%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n", b"\r\n" + GET)
    client.engine.release()

    assert [reply.status for reply in client.took()] == [200, 200]


def test_a_chunked_body_beyond_the_limit_is_refused(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_body_bytes=10))

    client.send(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n".encode())

    assert client.took()[0].status == 413


def test_a_body_is_refused_by_its_length_before_it_comes(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_body_bytes=10))

    client.send(message(b"x" * 11)[:-11])

    (reply,) = client.took()
    assert (reply.status, reply.json) == (413, {"error": "the body has more than 10 bytes"})
    assert client.wire.ended


def test_json_beyond_its_own_limit_is_refused_and_the_connection_goes_on(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_json_bytes=10))

    client.send(message(b"x" * 11) + GET)

    refused, answered = client.took()
    assert (refused.status, answered.status) == (413, 200)
    assert "send large tensors as binary data" in refused.json["error"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "endless"])
def test_headers_beyond_the_limit_are_refused(engine: FakeEngine, whole: bool) -> None:
    client = Client(engine, Limits(max_header_bytes=100))

    client.send(b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100 + (b"\r\n\r\n" if whole else b""))

    assert client.took()[0].status == 431


def test_a_request_without_a_length_is_asked_for_one(client: Client) -> None:
    client.send(f"POST {INFER} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    assert client.took()[0].status == 411


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_inflated(client: Client, encoding: str) -> None:
    plain = row(1, 2, 3).encode()
    body = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)

    client.send(message(body, f"Content-Encoding: {encoding}"))
    client.engine.release()

    assert data_of(client.took()[0].body) == [2, 4, 6]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(gzip.compress(bytes(2000)), 413, id="a bomb"),
        pytest.param(b"no gzip", 400, id="something else"),
        pytest.param(gzip.compress(b"{}")[:-3], 400, id="cut off"),
        pytest.param(gzip.compress(b"{}") + b"x", 400, id="with more behind it"),
    ],
)
def test_a_compressed_body_that_cannot_be_inflated_is_refused(engine: FakeEngine, body: bytes, status: int) -> None:
    client = Client(engine, Limits(max_body_bytes=1000))

    client.send(message(body, "Content-Encoding: gzip"))

    assert client.took()[0].status == status


def test_a_client_that_asks_first_is_told_to_send(client: Client) -> None:
    whole = message(row(1, 2, 3), "Expect: 100-continue")
    head, body = whole[: whole.index(b"{")], whole[whole.index(b"{") :]

    client.send(head)
    assert [reply.status for reply in client.took()] == [100]

    client.send(body[:10], body[10:])
    client.engine.release()
    assert [reply.status for reply in client.took()] == [200]


def test_a_client_that_asks_first_is_told_at_once_that_there_is_nothing(client: Client) -> None:
    client.send(message(b"x", "Expect: 100-continue", start="POST /nix HTTP/1.1")[:-1])

    assert [reply.status for reply in client.took()] == [404]
    assert client.wire.ended or client.wire.closed


def test_a_client_that_asks_first_and_sends_anyway_is_not_told(client: Client) -> None:
    client.send(message(row(1, 2, 3), "Expect: 100-continue"))
    client.engine.release()

    assert [reply.status for reply in client.took()] == [200]


@pytest.mark.parametrize("path", ["/v2/models/fraud/infer", "/nowhere"])
def test_a_client_that_asks_first_and_sends_a_body_at_fault_is_refused_once(client: Client, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"

    client.send(head.encode() + b"2;a\0=b\r\n{}")

    (reply,) = client.took()
    assert reply.status == (400 if path != "/nowhere" else 404)
    assert client.wire.ended


def test_going_on_is_said_after_the_answers_before_it(client: Client) -> None:
    client.send(message(row(1, 1, 1)) + message(row(2, 2, 2), "Expect: 100-continue")[: -len(row(2, 2, 2))])
    assert client.took() == []

    client.engine.release()

    assert [reply.status for reply in client.took()] == [200, 100]


def test_tensors_travel_as_blobs_both_ways(client: Client) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    text = json.dumps(
        {
            "inputs": [
                {"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": array.nbytes}}
            ],
            "parameters": {"binary_data_output": True},
        }
    )

    client.send(message(text.encode() + array.tobytes(), f"Inference-Header-Content-Length: {len(text)}"))
    client.engine.release()

    (reply,) = client.took()
    length = int(reply.headers["inference-header-content-length"])
    assert reply.headers["content-type"] == "application/octet-stream"
    assert json.loads(reply.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 24}
    assert reply.body[length:] == (array * 2).tobytes()


@pytest.mark.parametrize("is_right", [True, False], ids=["of the JSON", "of the JSON as it travels"])
def test_the_header_of_a_compressed_body_is_the_length_of_the_json_before_it_was_compressed(
    client: Client, is_right: bool
) -> None:
    blob = np.float32([[1, 2, 3]]).tobytes()
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(blob)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    length = len(text) if is_right else len(zlib.compress(text))

    client.send(
        message(zlib.compress(text + blob), "Content-Encoding: deflate", f"Inference-Header-Content-Length: {length}")
    )
    client.engine.release()

    (reply,) = client.took()
    assert reply.status == (200 if is_right else 400)
    assert not is_right or data_of(reply.body) == [2, 4, 6]


@pytest.mark.parametrize("id", [{}, {"id": "a"}], ids=["without id", "with id"])
def test_blobs_of_no_bytes_come_without_the_header_of_a_split(engine: FakeEngine, id: dict[str, str]) -> None:
    client = Client(engine)
    tensor = {"name": "x", "shape": [1, 0], "datatype": "FP32", "data": []}
    body = {"inputs": [tensor], "parameters": {"binary_data_output": True}, **id}

    client.send(message(json.dumps(body), start="POST /v2/models/echo/infer HTTP/1.1"))
    engine.release()

    (reply,) = client.took()
    assert "inference-header-content-length" not in reply.headers
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["outputs"][0]["parameters"] == {"binary_data_size": 0}


@pytest.mark.parametrize("headers", [[], ["Content-Encoding: gzip"]], ids=["as it is", "compressed"])
def test_an_inference_header_longer_than_the_body_is_said_to_be_that(engine: FakeEngine, headers: list[str]) -> None:
    client = Client(engine, Limits(max_json_bytes=1000))
    body = gzip.compress(b"{}") if headers else b"{}"

    client.send(message(body, "Inference-Header-Content-Length: 999999999", *headers))

    (reply,) = client.took()
    assert (reply.status, reply.json["error"]) == (400, "the inference header has 999999999 bytes, the body only 2")


def test_the_deadline_counts_from_the_clock_of_the_loop(engine: FakeEngine) -> None:
    client = Client(engine, clock_s=100.0)

    client.send(message(row(1, 2, 3, parameters={"timeout": 500_000})))

    assert engine.tickets[0].request.deadline_s == 100.5
