"""What those who look on are told of each request, and that clients get the same bytes with and without them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest

from mlserve.core.dtypes import DType
from mlserve.errors import Overloaded, Unavailable
from mlserve.serving.http.answering import Answering
from mlserve.serving.http.connection import Connection
from mlserve.serving.http.exchanges import Common
from mlserve.serving.http.heads import Heads
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.observed import ObservedConnection, show_failure
from mlserve.serving.http.replies import StatusLines
from mlserve.serving.observing import GONE, Seen
from tests.serving.fakes import FakeEngine, doubling, echo
from tests.serving.http.wire import GET, Client, Wire, message, row

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Recorder:
    """Wants every request, or nothing but failures of a status."""

    failures: int | None = None
    asked: list[tuple[bytes | None, str | None]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def wants(self, request_id: bytes | None, traceparent: str | None) -> bool:
        self.asked.append((request_id, traceparent))
        return self.failures is None

    def wants_failure(self, status: int) -> bool:
        return status == self.failures

    def note(self, seen: Seen) -> None:
        self.seen.append(seen)


class Observed(Client):
    """A client whose connection is looked at."""

    def __init__(self, engine: FakeEngine, *observers: Recorder) -> None:
        super().__init__(engine)
        limits = Limits()
        self.wire = Wire()
        self.common = Common(StatusLines(0.0), b"test")
        parts = (Answering(engine, limits, lambda: 0.0), self.common, limits, Heads(limits))
        self.connection: Connection = ObservedConnection(
            *parts, lambda connection: None, self.lost.append, observers=observers
        )
        self.common.on_failure = partial(show_failure, observers)
        self.connection.connection_made(self.wire)


REQUESTS = [
    pytest.param(message(row(1, 2, 3)), id="plain"),
    pytest.param(message(row(1, 2, 3, id="mine")), id="an id in the body"),
    pytest.param(message(row(1, 2, 3), "mlserve-request-id: mine"), id="an id in a header"),
    pytest.param(message(row(1, 2, 3), "connection: close"), id="the last one"),
    pytest.param(message(row(1, 2)), id="a shape that does not fit"),
    pytest.param(message("{"), id="not JSON"),
    pytest.param(message(start="GET /nowhere HTTP/1.1"), id="no such path"),
    pytest.param(message(start="POST /v2/models/none/infer HTTP/1.1"), id="no such model"),
    pytest.param(GET, id="a document"),
]


def engine_of() -> FakeEngine:
    engine = FakeEngine(held=True)
    engine.add(doubling())
    engine.add(echo(DType.FLOAT32))
    return engine


@pytest.mark.parametrize("request_bytes", REQUESTS)
def test_the_bytes_are_the_same_and_the_record_says_what_they_say(request_bytes: bytes) -> None:
    recorder = Recorder()
    plain, observed = Client(engine_of()), Observed(engine_of(), recorder)
    for client in (plain, observed):
        client.send(request_bytes)
        client.engine.release()

    assert observed.wire.written == plain.wire.written
    written = len(observed.wire.written)
    (reply,) = observed.took()
    (seen,) = recorder.seen
    assert seen.status == reply.status
    assert seen.id == reply.headers["mlserve-request-id"]
    assert seen.reply_bytes == written
    assert seen.began_s is not None
    assert seen.ended_s >= seen.began_s


def test_a_record_names_model_version_and_what_was_asked() -> None:
    recorder = Recorder()
    client = Observed(engine_of(), recorder)

    client.send(message(row(1, 2, 3), f"traceparent: {TRACEPARENT}"))
    client.engine.release()
    client.send(GET)

    infer, live = recorder.seen
    assert (infer.action, infer.model, infer.version, infer.protocol) == ("infer", "fraud", "1", "http")
    assert infer.traceparent == TRACEPARENT
    assert (live.action, live.model, live.version, live.traceparent) == ("live", "", "", None)


def test_pipelined_requests_are_told_with_their_own_ids() -> None:
    recorder = Recorder()
    client = Observed(engine_of(), recorder)

    client.send(message(row(1, 2, 3)) * 2 + GET + message(row(1, 2, 3)))
    client.engine.release(reverse=True)

    told = {reply.headers["mlserve-request-id"] for reply in client.took()}
    assert {seen.id for seen in recorder.seen} == told
    assert len(told) == 4


def test_who_wants_failures_alone_is_told_of_those_without_their_time() -> None:
    errors, everything = Recorder(failures=429), Recorder()
    client = Observed(engine_of(), errors, everything)
    alone = Observed(engine_of(), errors)

    for one in (client, alone):
        one.send(GET)
        one.engine.refuse = Overloaded("full")
        one.send(message(row(1, 2, 3), "mlserve-request-id: a-7"))
        one.engine.refuse = Unavailable("away")
        one.send(message(row(1, 2, 3)))

    assert [seen.status for seen in everything.seen] == [200, 429, 503]
    (failure,) = errors.seen
    assert (failure.status, failure.id, failure.model, failure.began_s) == (429, "a-7", "fraud", None)
    assert errors.asked[1] == (b"a-7", None)


def test_a_failure_that_nobody_had_wanted_has_the_id_of_its_reply() -> None:
    errors = Recorder(failures=503)
    client = Observed(engine_of(), errors)
    client.engine.refuse = Unavailable("away")

    client.send(message(row(1, 2, 3)))

    assert errors.seen[0].id == client.took()[0].headers["mlserve-request-id"]


def test_a_client_that_goes_away_is_told_too() -> None:
    recorder = Recorder()
    client = Observed(engine_of(), recorder)

    client.send(message(row(1, 2, 3)))
    client.connection.connection_lost(None)
    client.engine.release()

    (seen,) = recorder.seen
    assert (seen.status, seen.model, seen.reply_bytes) == (GONE, "fraud", 0)


def test_failures_are_counted_by_model_and_reason_but_not_by_names_that_clients_make_up() -> None:
    client = Client(engine_of())

    client.send(message("{"), message("{"), message(row(1, 2)))
    client.engine.release()
    client.send(message(start="POST /v2/models/none/infer HTTP/1.1"))
    client.engine.refuse = ZeroDivisionError()
    client.send(message(row(1, 2, 3)))

    assert client.common.failures["", "not_found"] == 1
    assert client.common.failures["fraud", "invalid_input"] >= 2
    assert client.common.failures["fraud", "internal"] == 1
    assert {model for model, _ in client.common.failures} == {"", "fraud"}
