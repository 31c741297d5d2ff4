"""As much of HTTP/2 as a load generator for gRPC needs: frames, fixed header blocks, flow control.

Written by hand because a gRPC library costs a call as much as the server that it should measure. What is sent is the
same for every call but for the stream's number, so a call is two joined pieces; what comes back is taken apart frame
by frame. Sources: RFC 9113 (frames, flow control), RFC 7541 (HPACK), gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
INITIAL_WINDOW = 65_535
LARGEST_WINDOW = (1 << 31) - 1
FRAME_BYTES = 16_384
HEAD_BYTES = 9

_HEAD = struct.Struct(">HBBBI")
_TABLE_SIZE, _WINDOW_SIZE, _FRAME_SIZE = 1, 4, 5

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame.

    >>> frame(PING, ACK, 0, bytes(8))[:9].hex()
    '000008060100000000'
    """
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def frames(data: bytes) -> Iterator[Frame | int]:
    """The whole frames in ``data``, and last how many bytes they took."""
    at, end = 0, len(data)
    unpack = _HEAD.unpack_from
    while end - at >= HEAD_BYTES:
        high, low, kind, flags, stream = unpack(data, at)
        stop = at + HEAD_BYTES + (high << 8 | low)
        if stop > end:
            break
        yield kind, flags, stream & 0x7FFFFFFF, data[at + HEAD_BYTES : stop]
        at = stop
    yield at


def opening() -> bytes:
    """What either side says first: no dynamic header table, and windows that never close."""
    settings = (_TABLE_SIZE, 0), (_WINDOW_SIZE, LARGEST_WINDOW), (_FRAME_SIZE, (1 << 24) - 1)
    payload = b"".join(struct.pack(">HI", name, value) for name, value in settings)
    return frame(SETTINGS, 0, 0, payload) + window_update(0, LARGEST_WINDOW - INITIAL_WINDOW)


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def window_size(payload: bytes) -> int | None:
    """The initial window of streams that a SETTINGS frame asks for, if it says one."""
    found = None
    for name, value in struct.iter_unpack(">HI", payload):
        found = value if name == _WINDOW_SIZE else found
    return found


def request_headers(path: str, authority: str, metadata: Mapping[str, str]) -> bytes:
    """The header block of a gRPC call, without Huffman codes and outside the dynamic table."""
    return b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http, both in the static table
            b"\x04" + _text(path),
            b"\x01" + _text(authority),
            b"\x0f\x10" + _text("application/grpc"),  # content-type
            b"\x00" + _text("te") + _text("trailers"),
            *(b"\x00" + _text(name) + _text(value) for name, value in metadata.items()),
        )
    )


def reply_headers() -> bytes:
    """The header block before a reply's message."""
    return b"\x88\x0f\x10" + _text("application/grpc")


def reply_trailers(status: int = 0) -> bytes:
    """The header block after a reply's message."""
    return b"\x00" + _text("grpc-status") + _text(str(status))


def status_in(block: bytes) -> int | None:
    """The gRPC status in a header block, if it is there in plain text; None if it isn't.

    >>> status_in(reply_trailers(8))
    8
    """
    name = b"grpc-status"
    at = block.find(name)
    if at < 0:
        return None
    at += len(name)
    digits = block[at + 1 : at + 1 + block[at]] if at < len(block) else b""
    return int(digits) if digits.isdigit() else None


def message_of(content: bytes) -> bytes:
    """A gRPC message as it goes over the wire: not compressed, with its length."""
    return b"\x00" + len(content).to_bytes(4, "big") + content


def _text(text: str) -> bytes:
    content = text.encode()
    size = len(content)
    if size < 127:
        return bytes([size]) + content
    # An integer with a prefix of seven bits, RFC 7541 section 5.1.
    rest, encoded = size - 127, bytearray([127])
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    encoded.append(rest)
    return bytes(encoded) + content
