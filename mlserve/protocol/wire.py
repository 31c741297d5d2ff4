"""Protobuf's wire format, as far as an answer is put together by hand: constant parts once, tensors as they are.

Source: protobuf, encoding (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

_LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """
    >>> varint(1), varint(300)
    (b'\\x01', b'\\xac\\x02')
    """
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def tag(field: int) -> bytes:
    """The tag of a field that has a length: text, bytes or a message."""
    return varint(field << 3 | _LENGTH_DELIMITED)


def delimited(field: int, content: bytes) -> bytes:
    """A field with its tag, length and content."""
    return tag(field) + varint(len(content)) + content
