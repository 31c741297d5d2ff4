"""How long a client may take. Nothing is noted per request: the sweep compares what it sees with what it saw last."""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from mlserve.serving.http.limits import MIN_RATE, Limits
from mlserve.serving.http.reading import RequestReader


class Activity(Enum):
    """What a connection is waiting for."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    WORKING = auto()
    WRITING = auto()
    LEAVING = auto()
    LINGERING = auto()


class Patience:
    """One connection's patience. It never runs out early; it runs out at most one sweep late."""

    __slots__ = ("_buffered", "_limits", "_seen", "_since_s", "_taken_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: tuple[Activity, int] | None = None
        self._since_s = 0.0
        self._buffered = 0
        self._taken_bytes = 0

    def is_over(self, activity: Activity, reader: RequestReader, buffered: int, now_s: float) -> bool:
        """Whether ``activity`` has lasted too long at ``now_s``; ``buffered`` is what the client has yet to read."""
        seen = activity, reader.taken
        if seen != self._seen:
            self._seen, self._since_s, self._buffered, self._taken_bytes = seen, now_s, buffered, 0
            return False
        # More answers may come in between: what is seen to go is the least that the client took.
        self._taken_bytes += max(0, self._buffered - buffered)
        self._buffered = buffered
        return now_s - self._since_s > self._allowed_s(activity, reader)

    def _allowed_s(self, activity: Activity, reader: RequestReader) -> float:
        limits = self._limits
        if activity is Activity.BODY:
            return limits.body_timeout_s + reader.body_received / MIN_RATE
        if activity is Activity.WRITING:
            return limits.body_timeout_s + self._taken_bytes / MIN_RATE
        if activity is Activity.HEAD:
            return limits.header_timeout_s
        if activity is Activity.LEAVING:
            return limits.half_close_s
        if activity is Activity.LINGERING:
            return limits.linger_s
        return limits.idle_timeout_s if activity is Activity.IDLE else inf
