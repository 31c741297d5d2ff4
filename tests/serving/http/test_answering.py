"""What is asked and what is answered: documents, refusals, bugs, ids."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mlserve.errors import InvalidInput, Overloaded, Unavailable
from mlserve.serving.seam import ModelState
from tests.serving.fakes import FakeModel, doubling
from tests.serving.http.wire import GET, Client, message, row


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/v2/health/live", {"live": True}, id="live"),
        pytest.param("/v2/health/ready", {"ready": True}, id="ready"),
        pytest.param("/v2/models", {"models": ["fraud", "echo"]}, id="models"),
        pytest.param("/v2/models/fraud/ready", {"name": "fraud", "ready": True}, id="model ready"),
        pytest.param("/v2/models/fraud/versions/1/ready", {"name": "fraud", "ready": True}, id="version ready"),
    ],
)
def test_documents_are_json(client: Client, path: str, expected: object) -> None:
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    (reply,) = client.took()
    assert (reply.status, reply.json) == (200, expected)


def test_metadata_is_given_for_the_server_and_for_a_model(client: Client) -> None:
    client.send(*(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in ("/v2", "/v2/models/fraud")))

    server, model = client.took()
    assert server.json["name"] == "mlserve"
    assert model.json["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]


def test_a_head_request_gets_the_head_of_the_document(client: Client) -> None:
    client.send(GET, GET.replace(b"GET", b"HEAD"))

    get, _, head = client.wire.written.partition(b'{"live":true}')
    assert get.replace(b"test-1", b"") == head.replace(b"test-2", b"")


@pytest.mark.parametrize(
    ("body", "count"), [("", 2), ('{"ready": true}', 2), ('{"ready": false}', 2)], ids=["empty", "ready", "all"]
)
def test_the_index_takes_an_empty_body(client: Client, body: str, count: int) -> None:
    client.send(message(body, start="POST /v2/repository/index HTTP/1.1"))

    assert len(client.took()[0].json) == count


@pytest.mark.parametrize("body", ["nonsense", "[]", '{"ready": 1}', '{"a":' * 200], ids=["text", "list", "int", "deep"])
def test_the_index_refuses_another_body(client: Client, body: str) -> None:
    client.send(message(body, start="POST /v2/repository/index HTTP/1.1"))

    assert client.took()[0].status == 400


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/fraud/ready"])
def test_what_is_not_ready_is_503(client: Client, path: str) -> None:
    client.engine.ready = client.engine.live = False

    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    (reply,) = client.took()
    assert reply.status == 503
    assert "error" in reply.json
    assert reply.headers["retry-after"] == "1"


def test_a_model_that_is_loading_is_503_and_an_unknown_one_404(client: Client) -> None:
    loading = doubling(name="new")
    loading.view.state = ModelState.LOADING
    client.engine.add(loading)

    client.send(message(row(1), start="POST /v2/models/new/infer HTTP/1.1"))
    client.send(message(row(1), start="POST /v2/models/n%C3%AEx/infer HTTP/1.1"))
    client.send(message(row(1), start="POST /v2/models/fraud/versions/9/infer HTTP/1.1"))

    found = client.took()
    assert [reply.status for reply in found] == [503, 404, 404]
    assert found[1].json == {"error": "no model 'nîx' (mlserve list)"}


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        pytest.param(Overloaded("9 rows wait"), 429, "1", id="overloaded"),
        pytest.param(Overloaded("9 rows wait", retry_after_s=0.02), 429, "1", id="overloaded for a moment"),
        pytest.param(Overloaded("9 rows wait", retry_after_s=7.2), 429, "8", id="overloaded for seconds"),
        pytest.param(Unavailable("not now"), 503, "1", id="unavailable"),
        pytest.param(InvalidInput("too odd"), 400, None, id="bad tensors"),
    ],
)
def test_what_the_engine_refuses_has_its_status(
    client: Client, error: Exception, status: int, retry: str | None
) -> None:
    client.engine.refuse = error

    client.send(message(row(1, 2, 3)))

    (reply,) = client.took()
    assert (reply.status, reply.json) == (status, {"error": str(error)})
    assert reply.headers.get("retry-after") == retry


@pytest.mark.parametrize("late", [False, True], ids=["at admission", "in the batch"])
def test_a_bug_is_a_bland_500_that_the_log_explains(
    client: Client, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    secret = ZeroDivisionError("the secret")

    def broken(inputs: object) -> dict[str, np.ndarray]:
        raise secret

    if late:
        client.engine.add(FakeModel(doubling().view, broken))
    else:
        client.engine.refuse = secret
    with caplog.at_level(logging.ERROR):
        client.send(message(row(1, 2, 3)))
        client.engine.release()

    (reply,) = client.took()
    assert (reply.status, reply.json) == (500, {"error": "Internal Server Error"})
    assert reply.headers["mlserve-request-id"] in caplog.text
    assert "the secret" in caplog.text


def test_an_answer_that_cannot_be_written_is_a_500_too(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.engine.add(FakeModel(doubling().view, lambda inputs: {"other": inputs["x"]}))

    client.send(message(row(1, 2, 3), "mlserve-request-id: r-1"))
    client.engine.release()

    assert client.took()[0].status == 500
    assert "r-1" in caplog.text


def test_the_request_id_is_the_header_s_then_the_body_s_then_one_of_ours(client: Client) -> None:
    client.send(message(row(1, 2, 3, id="b-1"), "mlserve-request-id: h-1"))
    client.send(message(row(1, 2, 3, id="b 2\r\nx: ä")), message(row(1, 2, 3)), message(row(1, 2, 3)))
    client.engine.release()

    found = client.took()
    ids = [reply.headers["mlserve-request-id"] for reply in found]
    assert ids[:2] == ["h-1", "b%202%0D%0Ax:%20%C3%A4"]
    assert ids[2] != ids[3]
    assert [reply.json.get("id") for reply in found] == ["b-1", "b 2\r\nx: ä", None, None]


@pytest.mark.parametrize("path", ["/v2/models/fraud/infer", "/v1/models/fraud:predict", "/v2/models/fraud/generate"])
def test_what_would_be_too_late_is_refused_before_its_body_is_looked_at(client: Client, path: str) -> None:
    client.engine.too_late = Overloaded("too late", retry_after_s=0.02)

    client.send(message(b"no JSON at all", start=f"POST {path} HTTP/1.1"))

    (reply,) = client.took()
    assert (reply.status, reply.json, reply.headers["retry-after"]) == (429, {"error": "too late"}, "1")
    assert client.engine.tickets == []


def test_the_date_of_a_refusal_turns_as_that_of_an_answer_does(client: Client) -> None:
    client.engine.refuse = Overloaded("full")
    for now_s in (0.0, 86_400.0):
        client.common.lines.turn(now_s)
        client.send(message(row(1)))

    assert [reply.headers["date"] for reply in client.took()] == [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 02 Jan 1970 00:00:00 GMT",
    ]


@pytest.mark.parametrize("line", ["Connection: close", "Accept-Encoding: gzip", "mlserve-request-id: r-1"])
def test_a_refusal_heeds_what_the_client_said_of_its_reply(client: Client, line: str) -> None:
    client.engine.refuse = Overloaded("long " * 400)

    client.send(message(row(1), line))

    (reply,) = client.took()
    assert reply.status == 429
    assert (reply.headers.get("connection") == "close") == (line == "Connection: close")
    assert ("content-encoding" in reply.headers) == line.startswith("Accept-Encoding")
    assert (reply.headers["mlserve-request-id"] == "r-1") == line.startswith("mlserve")
