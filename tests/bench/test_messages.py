"""Requests as bytes, and replies judged."""

from __future__ import annotations

import json

import pytest

from mlserve.bench.messages import Received, is_same, post_json, received


def test_a_request_is_whole_and_keeps_the_connection() -> None:
    head, _, body = post_json("host", 80, "/v2", {"a": [1]}).partition(b"\r\n\r\n")

    assert head.split(b"\r\n")[0] == b"POST /v2 HTTP/1.1"
    assert b"Host: host:80" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"a": [1]}


def test_a_reply_is_taken_apart_once_it_is_whole() -> None:
    data = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 3\r\n\r\nabcHTTP"

    assert received(data) == Received(429, b"abc", len(data) - 4)
    assert all(received(data[:end]) is None for end in range(len(data) - 4))
    assert received(b"HTTP/1.1 204 No Content\r\n\r\n") == Received(204, b"", 27)


@pytest.mark.parametrize(
    ("expected", "body", "same"),
    [
        pytest.param(b'{"p": [0.1, 1]}', b'{"p": [0.10000001, 1]}', True, id="rounded otherwise"),
        pytest.param(b'{"p": [0.1]}', b'{"p": [0.2]}', False, id="another number"),
        pytest.param(b'{"p": [NaN]}', b'{"p": [NaN]}', True, id="NaN"),
        pytest.param(b'{"p": [0.1]}', b'{"p": [0.1, 0.1]}', False, id="more numbers"),
        pytest.param(b'{"p": 1}', b'{"q": 1}', False, id="another name"),
        pytest.param(b'{"label": 1}', b'{"label": 2}', False, id="another label"),
        pytest.param(b"plain", b"plain", True, id="no JSON"),
        pytest.param(b"plain", b"other", False, id="other text"),
    ],
)
def test_bodies_are_the_same_up_to_rounding(expected: bytes, body: bytes, same: bool) -> None:
    assert is_same(expected, body) is same
