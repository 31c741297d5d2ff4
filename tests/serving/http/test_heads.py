"""Request lines and headers → heads, or the refusal of what is malformed or means two things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.serving.http.heads import Head, Heads, parse_head
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.replies import Reply

LIMITS = Limits(max_body_bytes=100)


def raw(*lines: str, start: str = "POST /v2/models/fraud/infer HTTP/1.1", host: str | None = "Host: a") -> bytes:
    return "\r\n".join([start, *([host] if host else []), *lines]).encode("latin-1")


def head(*lines: str, start: str = "POST /v2/models/fraud/infer HTTP/1.1", host: str | None = "Host: a") -> Head:
    found = parse_head(raw(*lines, start=start, host=host), LIMITS)
    assert isinstance(found, Head), found
    return found


def test_header_names_are_read_in_any_case() -> None:
    found = head("CONTENT-LENGTH: 7", "inference-Header-Content-Length: 3", "Mlserve-Request-Id: r-1")

    assert (found.body_bytes, found.json_bytes, found.request_id) == (7, 3, b"r-1")


def test_a_request_without_a_length_has_no_body() -> None:
    assert (head().body_bytes, head().is_infer) == (0, False)
    assert (head("Content-Length: 0").body_bytes, head("Content-Length: 0").is_infer) == (0, True)


def test_a_chunked_body_has_no_length_yet() -> None:
    assert head("Transfer-Encoding: Chunked").body_bytes is None


@pytest.mark.parametrize(
    ("version", "lines", "keeps"),
    [
        pytest.param("1.1", (), True, id="1.1"),
        pytest.param("1.1", ("Connection: close",), False, id="1.1 close"),
        pytest.param("1.1", ("Connection: TE, Close",), False, id="1.1 close among others"),
        pytest.param("1.0", (), False, id="1.0"),
        pytest.param("1.0", ("Connection: Keep-Alive",), True, id="1.0 keep-alive"),
    ],
)
def test_the_connection_stays_open_as_the_version_says(version: str, lines: tuple[str, ...], keeps: bool) -> None:
    assert head(*lines, start=f"GET /v2 HTTP/{version}").keep_alive is keeps


def test_http_1_0_needs_no_host() -> None:
    assert head(start="GET /v2 HTTP/1.0", host=None).is_http10


@pytest.mark.parametrize(
    "lines",
    [("Upgrade: h2c", "Connection: Upgrade"), ("Upgrade: websocket", "Connection: upgrade", "Content-Length: 5")],
)
def test_an_offer_to_upgrade_is_passed_over(lines: tuple[str, ...]) -> None:
    assert head(*lines).keep_alive


@pytest.mark.parametrize(
    ("name", "kept"), [("a-7", b"a-7"), ("a b", None), ("ä", None), ("x" * 128, b"x" * 128), ("x" * 129, None)]
)
def test_a_request_id_is_kept_if_it_can_go_back_into_a_header(name: str, kept: bytes | None) -> None:
    assert head(f"mlserve-request-id: {name}").request_id == kept


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(raw(host=None), 400, id="no Host"),
        pytest.param(raw("Host: b"), 400, id="two Hosts"),
        pytest.param(raw("Content-Length: 3", "Content-Length: 3"), 400, id="two equal lengths"),
        pytest.param(raw("Content-Length: 3", "Content-Length: 4"), 400, id="two lengths"),
        pytest.param(raw("Content-Length: 3, 3"), 400, id="a list of lengths"),
        pytest.param(raw("Content-Length: -3"), 400, id="a negative length"),
        pytest.param(raw("Content-Length: +3"), 400, id="a signed length"),
        pytest.param(raw("Content-Length: 0x3"), 400, id="a hexadecimal length"),
        pytest.param(raw("Content-Length:"), 400, id="an empty length"),
        pytest.param(raw("Content-Length: 3", "Transfer-Encoding: chunked"), 400, id="length and chunked"),
        pytest.param(raw("Transfer-Encoding: chunked", "Content-Length: 3"), 400, id="chunked and length"),
        pytest.param(raw("Transfer-Encoding: chunked", start="POST / HTTP/1.0"), 400, id="chunked in 1.0"),
        pytest.param(raw("Transfer-Encoding: gzip, chunked"), 501, id="another transfer coding"),
        pytest.param(raw("Transfer-Encoding: identity"), (400, 501), id="identity"),
        pytest.param(raw("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), (400, 501), id="chunked twice"),
        pytest.param(raw("Transfer-Encoding : chunked"), 400, id="a space before the colon"),
        pytest.param(raw("X: a", " folded"), 400, id="a folded header"),
        pytest.param(raw("X: a\0b"), 400, id="NUL"),
        pytest.param(raw("X: a\rb"), 400, id="a bare CR"),
        pytest.param(raw("X: a\nY: b"), 400, id="a bare LF"),
        pytest.param(raw("Content-Length: 101"), 413, id="a body beyond the limit"),
        pytest.param(raw("Content-Length: 99999999999999999999999"), 400, id="a length of 23 digits"),
        pytest.param(raw("Content-Length: 9999999999999999999"), 400, id="a length of 19 digits"),
        pytest.param(raw("Expect: miracles"), 417, id="another expectation"),
        pytest.param(raw("Content-Encoding: br"), 415, id="another content coding"),
        pytest.param(raw("Inference-Header-Content-Length: -1"), 400, id="a negative inference header"),
        pytest.param(raw("Inference-Header-Content-Length: 1", "Inference-Header-Content-Length: 2"), 400, id="two"),
        pytest.param(raw(start="GET / HTTP/2.0"), (400, 505), id="HTTP/2.0"),
        pytest.param(raw(start="GET / HTTP/0.9"), (400, 505), id="HTTP/0.9"),
        pytest.param(raw(start="FETCH / HTTP/1.1"), 501, id="an unknown method"),
        pytest.param(raw(start="GET /a b HTTP/1.1"), 400, id="a space in the path"),
        pytest.param(b"PRI * HTTP/2.0", 400, id="the preface of HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\0\x01", 400, id="TLS"),
        pytest.param(b"hello", 400, id="no HTTP"),
    ],
)
def test_what_is_malformed_or_ambiguous_ends_the_connection(sent: bytes, status: int | tuple[int, ...]) -> None:
    found = parse_head(sent, LIMITS)

    assert isinstance(found, Reply)
    assert found.is_last
    assert found.status in (status if isinstance(status, tuple) else (status,))


def test_equal_bytes_are_parsed_once() -> None:
    heads = Heads(LIMITS)

    first = heads.parse(raw("Content-Length: 7"))

    assert heads.get(raw("Content-Length: 7")) is first
    assert heads.get(raw("Content-Length: 8")) is None


@pytest.mark.parametrize("line", ["mlserve-request-id: 1", "X: " + "y" * 3000], ids=["own id", "long"])
def test_heads_that_will_not_come_again_are_not_kept(line: str) -> None:
    heads = Heads(LIMITS)

    heads.parse(raw(line))

    assert heads.get(raw(line)) is None


def test_ever_new_heads_do_not_fill_the_memory() -> None:
    heads = Heads(LIMITS)

    for number in range(3000):
        heads.parse(raw(f"X: {number}"))

    assert len(heads) <= 1024


@given(
    st.binary(max_size=200), st.lists(st.sampled_from([b"Content-Length: 3\r\n", b"\r\n", b"Expect: 100-continue\r\n"]))
)
def test_any_bytes_are_a_head_or_a_refusal(start: bytes, lines: list[bytes]) -> None:
    sent = b"POST /" + start + b" HTTP/1.1\r\nHost: a\r\n" + b"".join(lines)

    for text in (sent, start):
        assert isinstance(parse_head(text, LIMITS), Head | Reply)
