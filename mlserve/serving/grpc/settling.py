"""Requests that arrive one by one, let into the engine together.

grpc.aio wakes the loop for each event of each call, four or so a call, so that of 64 calls hardly two arrive in one
tick, and a batch of the tick would be a batch of one. Here a request waits until no other has come for a few ticks,
which are microseconds each. ``make bench`` has the figures.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop

from mlserve.serving.seam import Deliver, Engine, InferRequest, Ticket

QUIET_TICKS = 4
"""Ticks without a new request after which those that wait go: as many as a call has events."""

MAX_TICKS = 64
"""Ticks after which they go however many still come."""


class Settling:
    """Lets requests into ``engine`` in groups."""

    def __init__(self, engine: Engine, loop: AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._waiting: list[Arrival] = []
        self._seen = 0
        self._quiet = 0
        self._ticks = 0

    def infer(self, request: InferRequest, deliver: Deliver) -> Arrival:
        """As ``Engine.infer``, but that what it would raise is delivered."""
        arrival = Arrival(request, deliver)
        self._waiting.append(arrival)
        if len(self._waiting) == 1:
            self._seen = self._quiet = self._ticks = 0
            self._loop.call_soon(self._look)
        return arrival

    def _look(self) -> None:
        waiting = len(self._waiting)
        self._ticks += 1
        self._quiet = 0 if waiting > self._seen else self._quiet + 1
        self._seen = waiting
        if self._quiet < QUIET_TICKS and self._ticks < MAX_TICKS:
            self._loop.call_soon(self._look)
            return
        arrivals, self._waiting = self._waiting, []
        for arrival in arrivals:
            arrival.enter(self._engine)


class Arrival:
    """One request on its way into the engine, and the ticket of its sender."""

    __slots__ = ("_deliver", "_is_cancelled", "_request", "_ticket")

    def __init__(self, request: InferRequest, deliver: Deliver) -> None:
        self._request = request
        self._deliver = deliver
        self._ticket: Ticket | None = None
        self._is_cancelled = False

    def enter(self, engine: Engine) -> None:
        if self._is_cancelled:
            return
        try:
            self._ticket = engine.infer(self._request, self._deliver)
        except Exception as error:
            self._deliver(error)

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._ticket is not None:
            self._ticket.cancel()
