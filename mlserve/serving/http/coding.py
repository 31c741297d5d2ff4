"""Content codings: bodies inflated within a limit, replies deflated where the client asked for it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from mlserve.errors import InvalidInput, PayloadTooLarge

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_LEVEL = 1
"""Numbers hardly deflate further at higher levels, which take several times as long."""

LEAST_BYTES = 1024
"""A shorter reply gains nothing."""


def inflate(body: bytes, max_bytes: int) -> bytes:
    """What ``body`` holds, compressed by gzip or zlib. Raises PayloadTooLarge beyond ``max_bytes``, InvalidInput."""
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidInput("the body is not what its content-encoding says") from error
    if len(plain) > max_bytes:
        raise PayloadTooLarge(f"the body inflates to more than {max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("the compressed body ends in the wrong place")
    return plain


def deflate(pieces: Sequence[bytes | memoryview], coding: str) -> list[bytes]:
    """``pieces`` as one body of ``coding``, "gzip" or "deflate" (which is a zlib stream, RFC 9110 §8.4.1)."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return [*(deflater.compress(piece) for piece in pieces), deflater.flush()]


def accepted(header: bytes) -> str | None:
    """The coding to answer with for an Accept-Encoding, None for none: the client's favourite, gzip where it is even.

    Source: RFC 9110 §12.5.3.

    >>> accepted(b"deflate;q=0.5, gzip;q=0.2"), accepted(b"gzip;q=0"), accepted(b"*")
    ('deflate', None, 'gzip')
    """
    weights: dict[str, float] = {}
    for item in header.decode("latin-1").lower().split(","):
        name, _, more = item.partition(";")
        weights[name.strip()] = _weight(more)
    rest = weights.get("*", 0.0)
    offers = {name: weights.get(name, rest) for name in ("gzip", "deflate")}
    offers["gzip"] = max(offers["gzip"], weights.get("x-gzip", 0.0))
    best = max(offers, key=lambda name: offers[name])
    refusal = weights.get("identity", 0.0)
    return best if offers[best] > 0.0 and offers[best] >= refusal else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
