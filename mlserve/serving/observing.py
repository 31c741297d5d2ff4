"""A request that has its reply, as those see it who look on: the access log and the traces.

Nobody who looks on is asked before the reply is made, and with nobody there front ends take the path without any of
this.
"""

from __future__ import annotations

import re
from typing import Protocol
from zlib import crc32

import msgspec

from mlserve.errors import MlserveError
from mlserve.serving.seam import RunTiming

_WORD = re.compile(r"(?<!^)(?=[A-Z])")

GONE = 499
"""The status of a request whose client went away before its answer; the number that nginx logs for it."""


class Seen(msgspec.Struct, gc=False):
    """One request: what was asked, what came of it, and when, in seconds since 1970 and of ``time.monotonic()``.

    ``timing`` is that of the run it was in, None where nothing was run. ``traceparent`` is as the client sent it.
    """

    protocol: str
    id: str
    client: str
    action: str
    model: str
    version: str
    status: int
    reply_bytes: int
    ended_at: float
    began_s: float
    ended_s: float
    timing: RunTiming | None = None
    traceparent: str | None = None


class Observer(Protocol):
    """Looks on. Called on the loop's thread, for every request, so it must be quick."""

    def wants(self, request_id: bytes, status: int, traceparent: str | None) -> bool:
        """Whether it wants to know of this request; only then is a ``Seen`` made."""

    def note(self, seen: Seen) -> None:
        """Take it."""


def threshold_of(share: float) -> int:
    """What ``is_sampled`` takes for a share from 0 to 1."""
    return round(share * (1 << 32))


def is_sampled(request_id: bytes, threshold: int) -> bool:
    """Whether a request is among the share: the CRC-32 of its id says so, and says the same wherever it is asked.

    >>> sum(is_sampled(b"%d" % number, threshold_of(0.1)) for number in range(10_000))
    1000
    """
    return crc32(request_id) < threshold


def reason_of(error: Exception) -> str:
    """Why a request failed, in a word of a small set, for counting.

    >>> reason_of(Overloaded("full")), reason_of(KeyError())
    ('overloaded', 'internal')
    """
    return _WORD.sub("_", type(error).__name__).lower() if isinstance(error, MlserveError) else "internal"
