"""Any bytes in any pieces get the same answers."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from mlserve.serving.http.limits import Limits
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.http.wire import GET, INFER, Client, message, row

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


def test_a_known_head_without_its_end_is_no_request_yet() -> None:
    engine = FakeEngine(held=True)
    engine.add(doubling())
    client = Client(engine)
    client.send(GET)
    client.took()

    client.send(GET.removesuffix(b"\r\n\r\n"))
    assert client.took() == []
    client.send(b"\r\nConnection: close\r\n\r\n")

    (reply,) = client.took()
    assert reply.headers["connection"] == "close"
