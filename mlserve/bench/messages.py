"""Requests as the bytes that go over the wire, and replies checked against what they must be."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200"


@dataclass(frozen=True, slots=True)
class Message:
    """A request, and how its reply must end: the empty line after the headers, and the body. None: not known yet."""

    request: bytes
    ending: bytes | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """One whole reply: its status, its body, and how many bytes it took of those that came."""

    status: int
    body: bytes
    size: int


def post_json(host: str, port: int, path: str, body: Any) -> bytes:
    """A POST of ``body`` as JSON, on a connection that stays open."""
    text = json.dumps(body).encode()
    lines = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    return f"{lines}Content-Length: {len(text)}\r\n\r\n".encode() + text


def received(data: bytes) -> Received | None:
    """The reply that ``data`` begins with, or None while it isn't whole. Only replies with a length are known.

    >>> received(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi").body
    b'hi'
    """
    end = data.find(_END)
    if end < 0:
        return None
    length = _LENGTH.search(data, 0, end + 2)
    size = end + len(_END) + (int(length[1]) if length else 0)
    return Received(int(data[9:12]), data[end + len(_END) : size], size) if len(data) >= size else None


def is_same(expected: bytes, body: bytes, *, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Whether two JSON bodies say the same but for rounding; a batch may round in another order than a lone row."""
    try:
        return _is_same(json.loads(expected), json.loads(body), rtol, atol)
    except ValueError:
        return expected == body


def _is_same(expected: Any, actual: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            _is_same(value, actual[name], rtol, atol) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(
            _is_same(one, other, rtol, atol) for one, other in zip(expected, actual, strict=True)
        )
    if isinstance(expected, float) and isinstance(actual, float):
        return math.isclose(expected, actual, rel_tol=rtol, abs_tol=atol) or (expected != expected and actual != actual)
    return bool(expected == actual)
