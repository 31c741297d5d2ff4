"""One client's connection, driven byte by byte without a socket."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Overloaded, Unavailable
from mlserve.serving.http.limits import Limits
from mlserve.serving.seam import ModelState
from tests.serving.fakes import FakeEngine, FakeModel, doubling, echo
from tests.serving.http.wire import GET, INFER, Client, Wire, message, row


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(held=True)
    engine.add(doubling())
    engine.add(echo(DType.FLOAT32))
    return engine


@pytest.fixture
def client(engine: FakeEngine) -> Client:
    return Client(engine)


def data_of(body: bytes) -> list[float]:
    found: list[float] = json.loads(body)["outputs"][0]["data"]
    return found


def test_a_request_is_answered_and_the_connection_stays(client: Client) -> None:
    client.send(message(row(1, 2, 3)))
    client.engine.release()

    (reply,) = client.took()
    assert reply.status == 200
    assert data_of(reply.body) == [2, 4, 6]
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert "connection" not in reply.headers
    assert not client.wire.closed

    client.send(message(row(4, 5, 6)))
    client.engine.release()
    assert data_of(client.took()[0].body) == [8, 10, 12]


# Order and pressure.


def test_pipelined_requests_are_answered_in_the_order_they_came(client: Client) -> None:
    client.send(message(row(1, 1, 1)) + GET + message(row(2, 2, 2)) + message("nonsense") + message(row(3, 3, 3)))
    assert client.took() == []

    client.engine.release(reverse=True)

    found = client.took()
    assert [reply.status for reply in found] == [200, 200, 200, 400, 200]
    assert [data_of(found[at].body)[0] for at in (0, 2, 4)] == [2, 4, 6]


def test_more_requests_than_allowed_at_a_time_wait_unread(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_pipelined=2))

    client.send(b"".join(message(row(n, n, n)) for n in range(5)))
    assert len(engine.tickets) == 2
    assert not client.wire.reads

    engine.release()
    assert len(engine.tickets) == 2
    engine.release()
    assert client.wire.reads
    engine.release()
    assert [data_of(reply.body)[0] for reply in client.took()] == [0, 2, 4, 6, 8]


def test_documents_do_not_run_past_the_cap_either(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_pipelined=2))

    client.send(message(row(1, 1, 1)) + GET * 1000)

    assert not client.wire.reads
    engine.release()
    assert len(client.took()) == 1001
    assert client.wire.reads


def test_a_client_that_does_not_read_is_not_read_from(client: Client) -> None:
    client.connection.pause_writing()
    client.send(message(row(1, 1, 1)) * 2)
    assert client.engine.tickets == []
    assert not client.wire.reads

    client.connection.resume_writing()
    client.engine.release()
    assert len(client.took()) == 2
    assert client.wire.reads


def test_an_answer_after_the_connection_was_cut_starts_nothing_new(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_pipelined=1))
    client.send(message(row(1, 1, 1)) * 2)
    client.connection.abort()

    client.connection.resume_writing()

    assert client.wire.aborted
    assert not client.wire.reads


# The end of a connection.


def test_a_lost_client_takes_its_requests_along(client: Client) -> None:
    client.send(message(row(1, 1, 1)) * 3)

    client.connection.connection_lost(None)

    assert [ticket.deliver for ticket in client.engine.tickets] == [None] * 3
    assert client.lost == [client.connection]
    client.engine.release()
    assert client.took() == []


def test_a_client_that_closes_its_side_still_gets_what_is_due(client: Client) -> None:
    client.send(message(row(1, 1, 1)) + GET)
    assert client.connection.eof_received()

    client.engine.release()

    assert [reply.status for reply in client.took()] == [200, 200]
    assert client.wire.closed


def test_a_client_that_closes_its_side_with_nothing_due_is_let_go(client: Client) -> None:
    client.send(message(row(1, 1, 1))[:-5])

    assert not client.connection.eof_received()


def test_requests_behind_the_cap_are_answered_after_the_client_closed_its_side(engine: FakeEngine) -> None:
    client = Client(engine, Limits(max_pipelined=1))
    client.send(message(row(1, 1, 1)) * 2)
    client.connection.eof_received()

    engine.release()
    engine.release()

    assert len(client.took()) == 2
    assert client.wire.closed


def test_connection_close_ends_after_the_answer_and_ignores_what_follows(client: Client) -> None:
    client.send(message(row(1, 1, 1), "Connection: close") + GET)
    client.send(GET)
    client.engine.release()

    (reply,) = client.took()
    assert reply.headers["connection"] == "close"
    assert client.wire.ended or client.wire.closed


def test_http_1_0_is_closed_unless_it_asks_otherwise(client: Client) -> None:
    client.send(b"GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.took()[0].headers["connection"] == "keep-alive"

    client.send(b"GET /v2 HTTP/1.0\r\n\r\n")
    assert client.took()[0].headers["connection"] == "close"
    assert client.wire.closed


def test_a_malformed_request_is_answered_in_its_turn_and_ends_the_connection(client: Client) -> None:
    client.send(message(row(1, 1, 1)) + b"hello\r\n\r\n" + GET)
    assert client.took() == []

    client.engine.release()

    first, last = client.took()
    assert (first.status, last.status) == (200, 400)
    assert last.headers["connection"] == "close"
    assert "error" in last.json
    assert client.wire.ended
    client.send(GET)
    assert client.took() == []


def test_in_a_drain_each_reply_is_the_last(client: Client) -> None:
    client.send(message(row(1, 1, 1)))
    client.common.is_draining = True
    client.engine.release()

    (reply,) = client.took()
    assert reply.headers["connection"] == "close"
    assert client.wire.closed


# Bodies.


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


def test_going_on_is_said_after_the_answers_before_it(client: Client) -> None:
    client.send(message(row(1, 1, 1)) + message(row(2, 2, 2), "Expect: 100-continue")[: -len(row(2, 2, 2))])
    assert client.took() == []

    client.engine.release()

    assert [reply.status for reply in client.took()] == [200, 100]


# What is asked, and what went wrong.


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


# Ids.


def test_the_request_id_is_the_header_s_then_the_body_s_then_one_of_ours(client: Client) -> None:
    client.send(message(row(1, 2, 3, id="b-1"), "mlserve-request-id: h-1"))
    client.send(message(row(1, 2, 3, id="b 2\r\nx: ä")), message(row(1, 2, 3)), message(row(1, 2, 3)))
    client.engine.release()

    found = client.took()
    ids = [reply.headers["mlserve-request-id"] for reply in found]
    assert ids[:2] == ["h-1", "b%202%0D%0Ax:%20%C3%A4"]
    assert ids[2] != ids[3]
    assert [reply.json.get("id") for reply in found] == ["b-1", "b 2\r\nx: ä", None, None]


# Blobs.


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


def test_the_deadline_counts_from_the_clock_of_the_loop(engine: FakeEngine) -> None:
    client = Client(engine, clock_s=100.0)

    client.send(message(row(1, 2, 3, parameters={"timeout": 500_000})))

    assert engine.tickets[0].request.deadline_s == 100.5


# Time.


SOON = Limits(header_timeout_s=1, body_timeout_s=2, idle_timeout_s=4, linger_s=0.5, half_close_s=0.25)


def expired_at(client: Client, *, until_s: float = 40.0) -> float | None:
    """When the sweep, run every eighth of a second from 0 on, first does something to the connection."""
    for step in range(int(until_s * 8)):
        client.connection.expire(step / 8)
        if client.wire.closed or client.wire.ended or client.wire.written:
            return step / 8
    return None


def test_a_connection_without_requests_is_closed_silently(engine: FakeEngine) -> None:
    client = Client(engine, SOON)

    assert expired_at(client) == 4.125
    assert client.wire.closed
    assert client.wire.written == b""


@pytest.mark.parametrize(
    ("sent", "after_s"),
    [
        pytest.param(GET[:10], 1.125, id="half a head"),
        pytest.param(message(b"x" * 20)[:-5], 2.125, id="half a body"),
        pytest.param(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab".encode(), 2.125,
                     id="half a chunk"),
    ],
)  # fmt: skip
def test_a_request_that_does_not_come_to_its_end_is_refused(engine: FakeEngine, sent: bytes, after_s: float) -> None:
    client = Client(engine, SOON)
    client.send(sent)

    assert expired_at(client) == after_s
    assert client.took()[0].status == 408
    assert client.wire.ended


def test_a_trickle_does_not_buy_time(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    for step, byte in enumerate(message(b"x" * 20)[:30]):
        client.send(bytes([byte]))
        client.connection.expire(step / 8)
        if client.wire.written:
            break

    assert step / 8 == 1.125


def test_a_large_body_that_keeps_coming_has_the_time_it_needs(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    client.send(message(bytes(1 << 20))[: -(1 << 20)])
    for second in range(4):
        client.send(bytes(200 << 10))
        client.connection.expire(float(second))

    assert client.took() == []


def test_a_request_that_is_being_worked_on_is_not_cut(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    client.send(message(row(1, 2, 3)) + GET[:10])

    assert expired_at(client) is None


def test_a_client_that_does_not_take_its_answers_is_cut(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    client.wire.unread = 1000
    client.connection.pause_writing()

    assert expired_at(client) == 2.125
    assert client.wire.aborted


def test_a_client_that_left_half_is_waited_for_a_little(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    client.send(message(row(1, 2, 3)))
    client.connection.eof_received()

    assert expired_at(client) == 0.375
    assert client.wire.aborted


def test_a_client_that_lingers_is_cut(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    client.send(b"hello\r\n\r\nmore")
    client.took()
    client.wire.ended = False

    assert expired_at(client) == 0.625
    assert client.wire.aborted


def test_each_request_starts_the_clock_anew(engine: FakeEngine) -> None:
    client = Client(engine, SOON)
    for second in range(8):
        client.send(GET)
        client.connection.expire(float(second))

    assert not client.wire.closed


def test_only_an_idle_connection_is_closed_when_idle_ones_are(engine: FakeEngine) -> None:
    idle, busy, half = Client(engine), Client(engine), Client(engine)
    busy.send(message(row(1, 2, 3)))
    half.send(GET[:5])

    for client in (idle, busy, half):
        client.connection.close_if_idle()

    assert [client.wire.closed for client in (idle, busy, half)] == [True, False, False]


def test_a_transport_that_cannot_half_close_is_closed(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(engine)
    monkeypatch.setattr(Wire, "can_write_eof", lambda self: False)

    client.send(b"hello\r\n\r\nmore")

    assert client.wire.closed


# Any bytes in any pieces.


REQUESTS = [
    message(row(1, 2, 3)),
    message(row(4, 5, 6, id="7"), "mlserve-request-id: r"),
    message("[1"),
    GET,
    GET.replace(b"GET", b"HEAD"),
    b"GET /nix HTTP/1.1\r\nHost: a\r\n\r\n",
    f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    + b"%x\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(row(1, 1, 1)), row(1, 1, 1).encode()),
    message(row(1, 2, 3), start="POST /v2/models/fraud/versions/1/infer HTTP/1.1"),
    b"\r\n" + GET,
    b"GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    message(row(1, 2, 3), "Connection: close"),
    b"nonsense\r\n\r\n",
]


def fed(pieces: list[bytes], max_pipelined: int = 64) -> bytes:
    engine = FakeEngine(held=True)
    engine.add(doubling())
    client = Client(engine, Limits(max_pipelined=max_pipelined))
    for piece in pieces:
        client.send(piece)
    while engine.tickets:
        engine.release(reverse=True)
    # Our own ids are given in the order in which answers are made, which the cap on pipelining may change.
    return re.sub(rb"test-[0-9a-f]+", b"test", client.wire.written)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6),
    st.lists(st.integers(0, 3000), max_size=12),
    st.integers(1, 4),
)
def test_answers_do_not_depend_on_how_the_bytes_were_cut(
    requests: list[bytes], places: list[int], max_pipelined: int
) -> None:
    data = b"".join(requests)

    assert fed(cut(data, places), max_pipelined) == fed([data])


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3))
def test_answers_are_the_same_byte_by_byte(requests: list[bytes]) -> None:
    data = b"".join(requests)

    assert fed([data[at : at + 1] for at in range(len(data))]) == fed([data])


@given(
    st.lists(st.sampled_from(REQUESTS) | st.binary(max_size=30), max_size=5).map(b"".join),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.lists(st.integers(0, 3000), max_size=5),
)
def test_damaged_bytes_get_answers_or_silence_never_an_exception(
    data: bytes, damage: list[tuple[int, int]], places: list[int]
) -> None:
    damaged = bytearray(data)
    for place, byte in damage:
        if damaged:
            damaged[place % len(damaged)] = byte

    assert fed(cut(bytes(damaged), places)) == fed([bytes(damaged)])
