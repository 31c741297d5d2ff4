"""A worker as one of several: it tells of itself, does what others were asked, and takes in a lost one's clients."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mlserve.errors import Unavailable
from mlserve.serving.metrics.families import Family
from mlserve.serving.repository import Repository
from mlserve.serving.seam import Engine
from mlserve.serving.supervising.asking import Ask, AskedServer
from mlserve.serving.supervising.listeners import inherited
from mlserve.serving.supervising.seats import Seat
from mlserve.serving.supervising.snapshots import keep_seen
from mlserve.serving.supervising.telling import Told
from mlserve.serving.supervising.together import Together

Listen = Callable[[socket.socket], Awaitable[Callable[[], None]]]
"""Begins to accept clients from a socket, which is the callee's from then on; what it returns ends that."""


class Member:
    """The worker in ``seat``, whose front end accepts by ``listen``."""

    def __init__(
        self,
        seat: Seat,
        engine: Engine,
        repository: Repository,
        families: Callable[[], list[Family]],
        listen: Listen,
        *,
        patience_s: float,
    ) -> None:
        self._seat = seat
        self._engine = engine
        self._repository = repository
        self._families = families
        self._listen = listen
        self._adopted: dict[int, list[Callable[[], None]]] = {}
        self._is_leaving = False
        self._asked = AskedServer(seat.folder, str(os.getpid()), self._tell, self._act)
        self.together = Together(seat.folder, self._asked, engine, patience_s)

    async def join(self) -> None:
        """Be there for the others; one that succeeds another does what that one had been asked."""
        await self._asked.start()
        if self._seat.succeeds:
            await self.together.caught_up()

    def leave(self) -> None:
        """Accept nobody any more, and have no say in what all have loaded."""
        self._is_leaving = True
        for seat in list(self._adopted):
            self._release(seat)
        for descriptor in (one for seat in self._seat.listeners for one in seat):
            with suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        """Be asked nothing any more, and leave behind what was counted to the end."""
        if self._asked.is_open:
            self._asked.close()
            keep_seen(self._seat.folder, self._asked.path.stem, self._tell())

    def _tell(self) -> Told:
        asked: dict[str, list[int]] = {}
        for one in self._repository.asked:
            asked.setdefault(one.name, []).append(one.version)
        return Told(
            self._families(),
            list(self._engine.statistics()),
            list(self._engine.models()),
            asked,
            self._repository.unloaded,
            self._is_leaving,
        )

    async def _act(self, ask: Ask) -> None:
        if self._is_leaving:
            return
        if ask.what == "load":
            await self._engine.load(ask.model, ask.versions)
        elif ask.what == "unload":
            await self._engine.unload(ask.model)
        elif ask.what == "adopt":
            await self._adopt(ask.seat)
        else:
            self._release(ask.seat)

    async def _adopt(self, seat: int) -> None:
        """Accept those that wait at ``seat``, whose worker is lost, beside our own."""
        if seat in self._adopted or seat == self._seat.number:
            return
        ends = self._adopted[seat] = list[Callable[[], None]]()
        try:
            for descriptor in self._seat.listeners[seat]:
                ends.append(await self._listen(inherited(descriptor)))
        except (OSError, IndexError) as error:
            self._release(seat)
            raise Unavailable(f"seat {seat} cannot be adopted: {error}") from error
        if self._is_leaving or self._adopted.get(seat) is not ends:
            for end in ends:  # released while it was being adopted
                end()

    def _release(self, seat: int) -> None:
        for end in self._adopted.pop(seat, ()):
            end()
