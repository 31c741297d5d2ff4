"""Requests as the bytes that go over the wire, and replies checked against what they must be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.core.dtypes import from_oip
from mlserve.errors import InvalidInput, Unsupported

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200"
RTOL = 1e-4
ATOL = 1e-6


@dataclass(frozen=True, slots=True)
class Message:
    """A request, and how its reply must end: the empty line after the headers, and the body. None: not known yet."""

    request: bytes
    ending: bytes | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """One whole reply: its status, its body, and how many bytes it took of those that came.

    ``json_bytes`` is how much of the body is JSON where binary tensors follow, else None.
    """

    status: int
    body: bytes
    size: int
    json_bytes: int | None = None


def post(host: str, port: int, path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """A POST of ``body`` on a connection that stays open."""
    shown = f"[{host}]" if ":" in host else host
    lines = [f"POST {path} HTTP/1.1", f"Host: {shown}:{port}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + _END + body


def post_json(host: str, port: int, path: str, body: Any) -> bytes:
    """A POST of ``body`` as JSON, on a connection that stays open."""
    return post(host, port, path, json.dumps(body).encode(), ("Content-Type: application/json",))


def learned(request: bytes, reply: bytes, where: str) -> Message:
    """``request`` with the whole ``reply`` that it got alone. Raises InvalidInput if that isn't a 200."""
    found = received(reply)
    assert found is not None
    if found.status != 200:
        raise InvalidInput(f"{where} answered {found.status}: {found.body[:200].decode(errors='replace')}")
    # What is sent in chunks may be cut elsewhere the next time: only the whole body can be compared.
    return Message(request, _END + found.body)


def constant_reply(message: Message) -> bytes:
    """A reply to ``message`` as a server would give it, headers of ours and the body that was learnt."""
    body = (message.ending or _END)[len(_END) :]
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d" % len(body) + _END + body


def received(data: bytes | bytearray) -> Received | None:
    """The reply that ``data`` begins with, or None while it isn't whole; by its length, or in chunks.

    >>> received(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi").body
    b'hi'
    """
    end = data.find(_END)
    if end < 0:
        return None
    start = end + len(_END)
    length = _LENGTH.search(data, 0, end + 2)
    if length is None and _CHUNKED.search(data, 0, end + 2):
        return _in_chunks(int(data[9:12]), data, start)
    size = start + (int(length[1]) if length else 0)
    if len(data) < size:
        return None
    json_length = _JSON_LENGTH.search(data, 0, end + 2)
    return Received(int(data[9:12]), bytes(data[start:size]), size, int(json_length[1]) if json_length else None)


def _in_chunks(status: int, data: bytes | bytearray, at: int) -> Received | None:
    body = bytearray()
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line].partition(b";")[0], 16)
        at = line + 2 + size + 2
        if len(data) < at:
            return None
        if size == 0:
            return Received(status, bytes(body), at)
        body += data[line + 2 : at - 2]
    return None


def is_right(ending: bytes, reply: Received) -> bool:
    """Whether ``reply`` says what ``ending`` demands, but for rounding: a batch may sum in another order."""
    if reply.json_bytes is None:
        return is_same(ending[len(_END) :], reply.body)
    return is_same_binary(ending[len(_END) :], reply.body, reply.json_bytes)


def is_same(expected: bytes, body: bytes, *, rtol: float = RTOL, atol: float = ATOL) -> bool:
    """Whether two JSON bodies say the same but for rounding; a batch may round in another order than a lone row."""
    try:
        return _is_same(json.loads(expected), json.loads(body), rtol, atol)
    except ValueError:
        return expected == body


def is_same_binary(expected: bytes, body: bytes, json_bytes: int) -> bool:
    """Whether two bodies of JSON and binary tensors say the same but for rounding."""
    if len(expected) != len(body) or expected[:json_bytes] != body[:json_bytes]:
        return False
    at = json_bytes
    for tensor in json.loads(body[:json_bytes]).get("outputs", []):
        size = tensor.get("parameters", {}).get("binary_data_size", 0)
        if not is_same_blob(tensor["datatype"], expected[at : at + size], body[at : at + size]):
            return False
        at += size
    return expected[at:] == body[at:]


def is_same_blob(datatype: str, expected: bytes, actual: bytes) -> bool:
    """Whether two binary tensors of one datatype hold the same values but for rounding."""
    if expected == actual:
        return True
    try:
        dtype = from_oip(datatype)
    except Unsupported:
        return False
    if not dtype.is_float or len(expected) != len(actual):
        return False
    one, other = (np.frombuffer(blob, dtype.numpy).astype(np.float64) for blob in (expected, actual))
    return bool(np.allclose(one, other, rtol=RTOL, atol=ATOL, equal_nan=True))


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
