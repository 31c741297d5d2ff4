"""Chunked bodies, in whatever pieces they come."""

from __future__ import annotations

import contextlib
import itertools

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.serving.http.chunks import MAX_CHUNKS, ChunkedBody


def read(data: bytes, cuts: list[int] | None = None, max_body_bytes: int = 1000) -> tuple[ChunkedBody, bytes]:
    """The body after all of ``data``, which comes in pieces, and what was left of it."""
    body = ChunkedBody(max_body_bytes, 100)
    edges = [0, *sorted(cuts or []), len(data)]
    kept = b""
    for start, stop in itertools.pairwise(edges):
        kept += data[start:stop]
        kept = kept[body.advance(kept, 0) :]
    return body, kept


def chunked(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n" + trailer + b"\r\n"


@given(
    st.lists(st.binary(max_size=20), max_size=5),
    st.sampled_from([b"", b"A: b\r\n"]),
    st.binary(max_size=5),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_a_body_is_the_same_however_its_bytes_were_cut(
    pieces: list[bytes], trailer: bytes, behind: bytes, cuts: list[int]
) -> None:
    data = chunked(pieces, trailer) + behind

    body, left = read(data, [cut for cut in cuts if cut < len(data)])

    assert body.is_complete
    assert body.parts.join() == b"".join(pieces)
    assert left == behind


def test_sizes_may_have_leading_zeros_extensions_and_capitals() -> None:
    body, _ = read(b'00A;a="b";c=d;e\r\n0123456789\r\n0;x\r\n\r\n')

    assert body.parts.join() == b"0123456789"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"x\r\n", 400, id="no size"),
        pytest.param(b"\r\n", 400, id="an empty size"),
        pytest.param(b"-1\r\n", 400, id="a negative size"),
        pytest.param(b"0x1\r\n", 400, id="a prefixed size"),
        pytest.param(b"1\n", None, id="a bare LF is no end yet"),
        pytest.param(b"1\na\r\n", 400, id="a bare LF"),
        pytest.param(b"1;\n\r\n", 400, id="a bare LF in an extension"),
        pytest.param(b"1 \r\n", 400, id="a space behind the size"),
        pytest.param(b"0; 0\r\n\r\n", 400, id="a space in an extension"),
        pytest.param(b"1\r\nab\r\n", 400, id="a chunk longer than its size"),
        pytest.param(b"1" * 2000, 400, id="an endless line"),
        pytest.param(b"3e9\r\n", 413, id="one more byte than the limit"),
        pytest.param(b"fffffffffffffff\r\n", 413, id="an exabyte"),
        pytest.param(b"0\r\nno header\r\n\r\n", 400, id="a trailer without a colon"),
        pytest.param(b"0\r\na: b\nc: d\r\n\r\n", 400, id="a bare LF in a trailer"),
        pytest.param(b"0\r\n" + b"a: bcdefgh\r\n" * 20, 431, id="too many trailers"),
        pytest.param(b"1\r\na\r\n" * 1001, 413, id="many small chunks"),
    ],
)
def test_anything_else_ends_the_connection(data: bytes, status: int | None) -> None:
    body, _ = read(data)

    assert not body.is_complete
    assert (body.fault.status if body.fault else None) == status


def test_a_body_in_very_many_chunks_is_refused() -> None:
    body, _ = read(b"1\r\na\r\n" * (MAX_CHUNKS + 1), max_body_bytes=1 << 20)

    assert body.fault is not None
    assert body.fault.status == 400


class Reference:
    """What httptools makes of the same body."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.complete = True


alphabet = st.lists(
    st.sampled_from(
        [b"0", b"1", b"a", b"F", b"\r\n", b"\n", b"\r", b";", b" ", b"x", b":", b"3\r\nabc\r\n", b"0\r\n\r\n"]
    ),
    max_size=14,
).map(b"".join)


@given(alphabet)
def test_no_body_is_read_otherwise_than_httptools_reads_it(data: bytes) -> None:
    body, _ = read(data)
    reference = Reference()
    parser = httptools.HttpRequestParser(reference)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(httptools.HttpParserError):
        parser.feed_data(data)

    if body.is_complete:
        assert reference.complete
        assert reference.body == body.parts.join()
