"""A request that has its reply, as those see it who look on: the access log and the traces.

Nobody who looks on is asked before the reply is made, and with nobody there front ends take the path without any of
this.
"""

from __future__ import annotations

import re
from functools import cache
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

    ``began_s`` is None where nobody had wanted to know before it failed. ``timing`` is that of the run it was in, None
    where nothing was run. ``traceparent`` is as the client sent it.
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
    ended_s: float
    began_s: float | None = None
    timing: RunTiming | None = None
    traceparent: str | None = None


class Observer(Protocol):
    """Looks on. Called on the loop's thread, for every request, so it must be quick."""

    def wants(self, request_id: bytes | None, traceparent: str | None) -> bool:
        """Whether it wants to know of a request that has just come; ``request_id`` is the client's own, if any."""

    def wants_failure(self, status: int) -> bool:
        """Whether it wants to know of one that failed so, although it had not wanted it before."""

    def note(self, seen: Seen) -> None:
        """Take it."""


class Sampler:
    """Chooses a share of the requests: by the CRC-32 of the client's own id, the rest by taking every n-th.

    >>> sampler = Sampler(0.25)
    >>> [sampler.takes(None) for _ in range(8)]
    [False, False, False, True, False, False, False, True]
    >>> sum(sampler.takes(b"%d" % number) for number in range(10_000))
    2500
    """

    __slots__ = ("_owed", "_share", "_threshold")

    def __init__(self, share: float) -> None:
        self._share = share
        self._threshold = round(share * (1 << 32))
        self._owed = 0.0

    def takes(self, request_id: bytes | None) -> bool:
        if request_id is not None:
            return crc32(request_id) < self._threshold
        self._owed += self._share
        if self._owed < 1.0:
            return False
        self._owed -= 1.0
        return True


def reason_of(error: Exception) -> str:
    """Why a request failed, in a word of a small set, for counting.

    >>> reason_of(Overloaded("full")), reason_of(KeyError())
    ('overloaded', 'internal')
    """
    return _words_of(type(error).__name__) if isinstance(error, MlserveError) else "internal"


@cache
def _words_of(name: str) -> str:
    return _WORD.sub("_", name).lower()
