"""Replies are compressed for clients that ask, by what they like best, and hold the same bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from mlserve.serving.http.coding import LEAST_BYTES, accepted, deflate
from tests.serving.fakes import FakeEngine
from tests.serving.http.wire import Client, Parsed, message, row

INFLATE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"gzip", "gzip", id="gzip"),
        pytest.param(b"x-gzip", "gzip", id="gzip by its old name"),
        pytest.param(b"deflate", "deflate", id="deflate"),
        pytest.param(b"gzip, deflate, br", "gzip", id="as browsers send"),
        pytest.param(b"gzip;q=0.1,deflate;q=0.2", "deflate", id="weights"),
        pytest.param(b"GZIP ; Q=1", "gzip", id="capitals and spaces"),
        pytest.param(b"gzip;q=0", None, id="refused"),
        pytest.param(b"*;q=0.5, gzip;q=0", "deflate", id="all but one"),
        pytest.param(b"identity, gzip;q=0.5", None, id="rather plain"),
        pytest.param(b"br, zstd", None, id="others only"),
        pytest.param(b"gzip;q=nonsense", None, id="a weight that is none"),
        pytest.param(b"gzip;q=7", None, id="a weight beyond one"),
    ],
)
def test_the_clients_favourite_is_taken(header: bytes, expected: str | None) -> None:
    assert accepted(header) == expected


@pytest.mark.parametrize("coding", list(INFLATE))
def test_what_is_deflated_is_what_was_there(coding: str) -> None:
    pieces = [b"abc" * 1000, memoryview(b"\0" * 5000), b""]

    assert INFLATE[coding](b"".join(deflate(pieces, coding))) == b"".join(pieces)


def asked(engine: FakeEngine, client: Client, rows: int, *headers: str, **fields: object) -> Parsed:
    values = [0.5] * 3 * rows
    body = row(*values, **fields).replace(f'"shape": [1, {3 * rows}]', f'"shape": [{rows}, 3]')
    client.send(message(body, *headers))
    engine.release()
    (reply,) = client.took()
    return reply


@pytest.mark.parametrize("coding", list(INFLATE))
@pytest.mark.parametrize("fields", [{}, {"id": "a"}, {"parameters": {"binary_data_output": True}}])
def test_a_long_reply_is_compressed_as_asked(
    engine: FakeEngine, client: Client, coding: str, fields: dict[str, object]
) -> None:
    plain = asked(engine, client, 200, **fields)
    packed = asked(engine, client, 200, f"Accept-Encoding: {coding}", **fields)

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == coding
    assert len(packed.body) < len(plain.body)
    assert INFLATE[coding](packed.body) == plain.body
    # The length of the JSON before the blobs is that of the JSON as it is, not as it travels.
    header = "inference-header-content-length"
    assert packed.headers.get(header) == plain.headers.get(header)


def test_a_short_reply_is_left_as_it_is(engine: FakeEngine, client: Client) -> None:
    reply = asked(engine, client, 1, "Accept-Encoding: gzip")

    assert len(reply.body) < LEAST_BYTES
    assert "content-encoding" not in reply.headers
