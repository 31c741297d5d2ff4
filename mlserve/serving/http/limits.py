"""What a client may ask of the front end: bytes, depth, requests at a time, and time."""

from __future__ import annotations

from dataclasses import dataclass

from mlserve.core.settings import ServeSettings

MIN_RATE = 64 << 10
"""Bytes a second: a body may take ``body_timeout_s``, and a second more for each so many that have come or gone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one front end; defaults are those of the settings.

    Beyond ``max_connections`` clients, one more is told to come back later. ``max_pipelined`` requests of one
    connection are worked on at a time; more are not read from the socket. ``header_timeout_s`` runs from the first byte
    of a request, ``body_timeout_s`` from the end of its headers (and for a client that does not read its answers),
    ``idle_timeout_s`` between requests. After its last answer a connection is closed for writing and read for up to
    ``linger_s``, so that the answer is not lost to a reset; ``half_close_s`` is how long answers are still worked on
    for a client that has closed its side.
    """

    max_header_bytes: int = 64 << 10
    max_body_bytes: int = 256 << 20
    max_json_bytes: int = 32 << 20
    max_json_depth: int = 100
    max_pipelined: int = 64
    max_connections: int = 10_000
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    linger_s: float = 2.0
    half_close_s: float = 1.0

    @property
    def sweep_s(self) -> float:
        """How often to look for slow clients: a quarter of the shortest timeout, between 20 ms and half a second."""
        shortest = min(self.header_timeout_s, self.body_timeout_s, self.idle_timeout_s, self.linger_s)
        return min(0.5, max(0.02, shortest / 4))


def limits_of(settings: ServeSettings) -> Limits:
    """The limits that the settings ask for."""
    return Limits(
        max_header_bytes=settings.max_header_bytes,
        max_body_bytes=settings.max_body_bytes,
        max_json_bytes=settings.max_json_bytes,
        max_json_depth=settings.max_json_depth,
        max_pipelined=settings.max_pipelined,
        max_connections=settings.max_connections,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )
