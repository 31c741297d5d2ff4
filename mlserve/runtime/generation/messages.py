"""How a server and the process of a language model talk: frames of MessagePack over pipes, one answer to each question.

    → {"ask": "open", folder, label, device, threads}       ← {"event": "opened", certificate, run_s}
    → {"ask": "generate", prompts, wishes, limit_s}         ← {"event": "generated", texts: [...]}
                                                            ← {"event": "error", type, message, hint}
A frame is four bytes of length, little-endian, and the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

LENGTH_BYTES = 4


def pack(message: Mapping[str, Any]) -> bytes:
    """``message`` as a frame."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def unpack(body: bytes) -> dict[str, Any]:
    """The message in a frame without its length."""
    message: dict[str, Any] = msgspec.msgpack.decode(body)
    return message


def read(source: BinaryIO) -> dict[str, Any] | None:
    """The next message, None where the other side has ended."""
    head = _exactly(source, LENGTH_BYTES)
    body = None if head is None else _exactly(source, int.from_bytes(head, "little"))
    return None if body is None else unpack(body)


def _exactly(source: BinaryIO, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        piece = source.read(count - len(parts))
        if not piece:
            return None
        parts += piece
    return bytes(parts)
