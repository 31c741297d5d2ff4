"""One client's connection, driven without a socket: the order of answers, pressure, and the end."""

from __future__ import annotations

from mlserve.serving.http.limits import Limits
from tests.serving.fakes import FakeEngine
from tests.serving.http.wire import GET, Client, data_of, message, row


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
