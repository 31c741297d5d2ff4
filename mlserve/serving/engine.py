"""The engine: requests are queued as they arrive, and what one tick of the event loop brought goes together.

    infer ─► queue of the version ─► end of the tick: Dispatch ─► here, or in lanes ─► Delivering ─► deliver
      └─ what is not usual: Sharing, Queueing

A lone request runs at the end of the tick that brought it, and batches grow by themselves with the load. What a request
costs here is paid by every request, so there is no future, no task and no log line for one, and the clock is read once
a tick. Decisions are made in ``batching``, ``holding`` and ``admission``.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import ParamSpec, Protocol

from mlserve.core.slo import Slo
from mlserve.errors import MlserveError, Unavailable, Unsupported
from mlserve.serving.accounting import Accounts
from mlserve.serving.batching import Waiting
from mlserve.serving.caching import OnShared, Sharing
from mlserve.serving.delivering import Delivering, OnAnswered
from mlserve.serving.dispatching import Dispatch
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded
from mlserve.serving.pacing import Paces
from mlserve.serving.queueing import Queueing
from mlserve.serving.repository import Repository
from mlserve.serving.seam import Answer, Deliver, InferRequest, ModelStatus, ModelView, Ticket
from mlserve.serving.tallies import ModelStatistics

log = logging.getLogger(__name__)

Told = ParamSpec("Told")


class OnDemand(Protocol):
    """What loads and unloads when a client asks; as ``seam.Engine`` says."""

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None: ...

    async def unload(self, model: str) -> None: ...


class BatchingEngine:
    """The one implementation of ``seam.Engine``. Everything happens on the loop's thread but the runs in lanes.

    ``cache_bytes`` and ``is_single_flight`` are for ``caching.Sharing``, which is not there at all while both are off;
    ``on_shared`` is what follows an answer that no run was made for.
    ``clients`` is how many are connected, for an objective; 0 where nobody knows.
    """

    def __init__(
        self,
        repository: Repository,
        lanes: Lanes,
        loop: AbstractEventLoop,
        *,
        max_queue_rows: int,
        max_delay_s: float = 0.0,
        preferred_rows: Sequence[int] = (),
        timeout_s: float | None = None,
        slo: Slo | None = None,
        cache_bytes: int = 0,
        is_single_flight: bool = False,
        on_demand: OnDemand | None = None,
        on_answered: OnAnswered | None = None,
        on_shared: OnShared | None = None,
        clients: Callable[[], int] = int,
    ) -> None:
        self._repository = repository
        self._max_queue_rows = max_queue_rows
        self._timeout_s = timeout_s
        self._on_demand = on_demand
        self._accounts = Accounts()
        self._sharing = (
            Sharing(
                loop,
                self._accounts,
                max_bytes=cache_bytes,
                is_single_flight=is_single_flight,
                on_shared=on_shared,
            )
            if cache_bytes or is_single_flight
            else None
        )
        self._is_plain = timeout_s is None and slo is None and self._sharing is None
        paces = self._paces = None if slo is None else Paces(slo, self._accounts, lanes)
        ticks = None if paces is None else paces.ticks
        delivering = self._delivering = Delivering(self._accounts, self._retry, on_answered)
        self._dispatch = Dispatch(
            lanes,
            loop,
            delivering,
            paces=paces,
            ticks=ticks,
            clients=clients,
            max_delay_s=max_delay_s,
            preferred=preferred_rows,
        )
        self._queueing = Queueing(
            repository,
            self._dispatch,
            delivering,
            self._accounts,
            lanes,
            loop,
            max_queue_rows=max_queue_rows,
            paces=paces,
        )
        self._is_draining = False

    def follow(self, followers: Sequence[tuple[OnAnswered, OnShared]]) -> None:
        """Have all of ``followers`` told of what is answered from now on, in this order, and nobody else."""
        self._delivering.follow(_each([on_answered for on_answered, _ in followers]))
        if self._sharing is not None:
            self._sharing.follow(_each([on_shared for _, on_shared in followers]))

    def infer(self, request: InferRequest, deliver: Deliver) -> Ticket:
        """Admit ``request``; see ``seam.Engine.infer``."""
        loaded = self._repository.route(request)
        try:
            rows, key = loaded.intake.admit(request)
            dispatch = self._dispatch
            if not dispatch.is_due:
                dispatch.flush_soon()
            queue = loaded.queue
            if (
                self._is_plain
                and rows <= loaded.max_rows
                and request.deadline_s is None
                and not request.priority
                and queue.rows + queue.later_rows + rows <= self._max_queue_rows
            ):
                # What nearly every request takes; ``Queueing`` does the same and whatever else there may be to do.
                arrived_s = dispatch.tick_s
                waiting = Waiting(request, deliver, rows, key, arrived_s, arrived_s)
                queue.add(waiting)
                dispatch.waiting[loaded] = None
                return waiting
            return self._infer(loaded, rows, key, request, deliver)
        except MlserveError:
            champion = self._repository.champion_over(loaded) if request.version is None else None
            if champion is None:
                raise
            rows, key = champion.intake.admit(request)
            return self._infer(champion, rows, key, request, deliver)

    def stream(self, request: InferRequest, deliver: Deliver, end: Callable[[Exception | None], None]) -> Ticket:
        """One part, and the end; see ``seam.Engine.stream``."""

        def deliver_whole(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Exception):
                end(outcome)
            else:
                deliver(outcome)
                end(None)

        return self.infer(request, deliver_whole)

    def view(self, model: str, version: int | None = None) -> ModelView:
        return self._repository.find(model, version).view

    def expect(self, model: str, version: int | None = None) -> ModelView:
        """``view`` for a request that has come; see ``seam.Engine.expect``."""
        loaded = self._repository.find(model, version)
        paces = self._paces
        if paces is not None:
            ticks, dispatch = paces.ticks, self._dispatch
            if not dispatch.is_due:
                dispatch.flush_soon()
            ticks.read += 1
            if ticks.read >= ticks.look_at:
                paces.check_tick(loaded, dispatch.waiting)
        return loaded.view

    def models(self) -> Sequence[ModelStatus]:
        return self._repository.statuses()

    def statistics(self, model: str | None = None, version: int | None = None) -> Sequence[ModelStatistics]:
        if model is not None:
            found = self._repository.find(model, version)
            if found.name != model:  # NAME@STAGE
                model, version = found.name, found.version
        return [
            self._accounts.of(loaded.name, loaded.version).statistics(loaded.queue.rows + loaded.queue.later_rows)
            for loaded in self._repository.loaded()
            if (model is None or loaded.name == model) and (version is None or loaded.version == version)
        ]

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        await self._loads_of(model).load(model, versions)

    async def unload(self, model: str) -> None:
        await self._loads_of(model).unload(model)

    def _loads_of(self, model: str) -> OnDemand:
        if self._on_demand is None:
            raise Unsupported(f"there is nothing to load '{model}' from")
        return self._on_demand

    def is_live(self) -> bool:
        return True

    def is_ready(self, model: str | None = None, version: int | None = None) -> bool:
        if self._is_draining:
            return False
        if model is None:
            return self._repository.is_settled
        try:
            return self._repository.find(model, version).is_up
        except Unavailable:
            return False

    def begin_drain(self) -> None:
        """Not ready from now on, so that load balancers look elsewhere; requests are still answered."""
        self._is_draining = True

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return self._dispatch.is_idle

    def _infer(self, loaded: Loaded, rows: int, key: Hashable, request: InferRequest, deliver: Deliver) -> Ticket:
        """Answer a request of any kind: from what is shared, or by letting it wait. Raises Overloaded."""
        if not self._dispatch.is_due:
            self._dispatch.flush_soon()
        if self._timeout_s is not None and request.deadline_s is None:
            request.deadline_s = self._dispatch.tick_s + self._timeout_s
        if self._sharing is not None:
            return self._sharing.infer(loaded, request, deliver, partial(self._queueing.enqueue, loaded, rows, key))
        return self._queueing.enqueue(loaded, rows, key, request, deliver)

    def _retry(self, loaded: Loaded, waiting: Waiting) -> bool:
        return self._queueing.retry(loaded, waiting)


def _each(followers: Sequence[Callable[Told, None]]) -> Callable[Told, None] | None:
    """One that calls all of ``followers``; None of none. What one raises keeps it from no other."""
    if len(followers) < 2:
        return followers[0] if followers else None

    def call_each(*told: Told.args, **named: Told.kwargs) -> None:
        for follower in followers:
            try:
                follower(*told, **named)
            except Exception:
                log.exception("what follows an answer went wrong")

    return call_each
