"""Slow clients are cut, and nobody else. The clock is the test's own."""

from __future__ import annotations

import pytest

from mlserve.serving.http.limits import Limits
from tests.serving.fakes import FakeEngine
from tests.serving.http.wire import GET, INFER, Client, Wire, message, row

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
