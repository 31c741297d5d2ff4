"""The engine: requests are queued as they arrive, and what one tick of the event loop brought goes together.

    infer ─► queue of the version ─► end of the tick: flush
                                       ├── cheap version: run here, answer, next tick takes the rest
                                       └── others: each idle lane takes an equal share ─► answers on the loop

No timer is involved unless a hold (``max_delay_s``) or a deadline asks for one: a lone request runs at the end of the
tick that brought it, and batches grow by themselves with the load. What a request costs here is paid by every request,
so there is no future, no task and no log line for one.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import monotonic, thread_time
from typing import Protocol

from mlserve.errors import DeadlineExceeded, MlserveError, Overloaded, Unavailable, Unsupported
from mlserve.serving.accounting import Accounts
from mlserve.serving.batching import Waiting, equal_share, hold_until, is_lone
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.repository import Repository
from mlserve.serving.seam import Answer, Deliver, InferRequest, ModelStatistics, ModelStatus, ModelView

log = logging.getLogger(__name__)


OnAnswered = Callable[[Loaded, Run], None]
"""What follows an answer: called once a run, on the loop, when its answers have been handed over and counted.

``run`` has the requests with their decoded tensors and unit keys, and the outputs or the error. It must be quick, and
copy what it keeps of a run that was inline. What it raises is logged; no request notices.
"""


class OnDemand(Protocol):
    """What loads and unloads when a client asks; as ``seam.Engine`` says."""

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None: ...

    async def unload(self, model: str) -> None: ...


class BatchingEngine:
    """The one implementation of ``seam.Engine``. Everything happens on the loop's thread but the runs in lanes."""

    def __init__(
        self,
        repository: Repository,
        lanes: Lanes,
        loop: AbstractEventLoop,
        *,
        max_queue_rows: int,
        max_delay_s: float = 0.0,
        on_demand: OnDemand | None = None,
        on_answered: OnAnswered | None = None,
    ) -> None:
        self._repository = repository
        self._lanes = lanes
        self._loop = loop
        self._max_queue_rows = max_queue_rows
        self._max_delay_s = max_delay_s
        self._on_demand = on_demand
        self._on_answered = on_answered
        self._accounts = Accounts()
        self._waiting: dict[Loaded, None] = {}
        self._is_flush_due = False
        self._hold: TimerHandle | None = None
        self._is_draining = False

    def infer(self, request: InferRequest, deliver: Deliver) -> Waiting:
        """Admit ``request``; see ``seam.Engine.infer``."""
        loaded = self._repository.route(request)
        try:
            rows, key = self._admit(loaded, request)
        except MlserveError:
            champion = self._repository.champion_over(loaded) if request.version is None else None
            if champion is None:
                raise
            loaded = champion
            rows, key = self._admit(loaded, request)
        waiting = Waiting(request, deliver, rows, key, monotonic())
        if request.deadline_s is not None:
            waiting.timer = self._loop.call_at(request.deadline_s, _expire, waiting)
        self._enqueue(loaded, waiting)
        return waiting

    def _admit(self, loaded: Loaded, request: InferRequest) -> tuple[int, Hashable]:
        rows, key = loaded.intake.admit(request)
        queue = loaded.queue
        if queue.rows + rows > self._max_queue_rows and queue.rows:
            self._accounts.of(loaded.name, loaded.version).note_rejection("queue_full")
            raise Overloaded(f"{queue.rows} rows wait for '{loaded.name}', and at most {self._max_queue_rows} may")
        return rows, key

    def _enqueue(self, loaded: Loaded, waiting: Waiting) -> None:
        loaded.queue.add(waiting)
        self._waiting[loaded] = None
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def stream(self, request: InferRequest, deliver: Deliver, end: Callable[[Exception | None], None]) -> Waiting:
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

    def models(self) -> Sequence[ModelStatus]:
        return self._repository.statuses()

    def statistics(self, model: str | None = None, version: int | None = None) -> Sequence[ModelStatistics]:
        if model is not None:
            self._repository.find(model, version)
        return [
            self._accounts.of(loaded.name, loaded.version).statistics(loaded.queue.rows)
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
            self._repository.find(model, version)
        except Unavailable:
            return False
        return True

    def begin_drain(self) -> None:
        """Not ready from now on, so that load balancers look elsewhere; requests are still answered."""
        self._is_draining = True

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self._waiting and self._lanes.idle == self._lanes.count

    def _flush(self) -> None:
        """Give out what waits, oldest version first: one batch each for the loop, all idle lanes to the others."""
        self._is_flush_due = False
        now_s = self._loop.time()
        wake_s: float | None = None
        for loaded in list(self._waiting):
            held_until_s = self._held_until(loaded)
            if held_until_s > now_s:
                wake_s = held_until_s if wake_s is None else min(wake_s, held_until_s)
                continue
            if self._runs_on_loop(loaded):
                self._run_inline(loaded, now_s)
            else:
                self._fill_lanes(loaded, now_s)
            self._settle(loaded)
        self._schedule(wake_s)

    def _run_inline(self, loaded: Loaded, now_s: float) -> None:
        batch = loaded.queue.take(loaded.max_rows, now_s)
        if batch:
            # Not the wall clock: a machine that is busy with something else says nothing about the model.
            start_s = thread_time()
            runs = loaded.execute(batch)
            loaded.note_inline_run(thread_time() - start_s)
            self._deliver(loaded, runs)

    def _fill_lanes(self, loaded: Loaded, now_s: float) -> None:
        lanes, queue = self._lanes, loaded.queue
        while lanes.idle and queue:
            batch = queue.take(equal_share(queue.rows, lanes.idle, loaded.max_rows), now_s)
            if not batch:
                return
            loaded.running += 1
            has_all = is_lone(len(batch), len(queue), len(self._waiting), lanes.idle, lanes.count)
            execute = loaded.execute_alone if has_all else loaded.execute
            lanes.submit(partial(execute, batch), partial(self._after_lane, loaded))

    def _after_lane(self, loaded: Loaded, runs: Sequence[Run]) -> None:
        loaded.running -= 1
        self._deliver(loaded, runs)
        loaded.finish_if_drained()
        if self._waiting and not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _deliver(self, loaded: Loaded, runs: Sequence[Run]) -> None:
        account = self._accounts.of(loaded.name, loaded.version)
        for run in runs:
            outcome = run.outcome
            if isinstance(outcome, Exception) and self._has_other_arm(loaded, run.batch[0]):
                account.note_failure(run.batch[0], monotonic())
                continue
            for waiting, answer in zip(run.batch, run.answers(), strict=True):
                _answer(waiting, answer)
            if isinstance(outcome, Exception):
                account.note_failure(run.batch[0], monotonic())
            elif outcome.timing is not None:
                account.note_run(run.batch, outcome.timing, monotonic())
            if self._on_answered is not None:
                self._tell_answered(self._on_answered, loaded, run)

    def _has_other_arm(self, challenger: Loaded, waiting: Waiting) -> bool:
        """Whether ``waiting``, which ``challenger`` could not answer, goes to the champion instead."""
        if waiting.request.version is not None or waiting.deliver is None:
            return False
        champion = self._repository.champion_over(challenger)
        if champion is None:
            return False
        try:
            waiting.rows, waiting.key = self._admit(champion, waiting.request)
        except MlserveError:
            return False
        self._enqueue(champion, waiting)
        return True

    def _tell_answered(self, on_answered: OnAnswered, loaded: Loaded, run: Run) -> None:
        try:
            on_answered(loaded, run)
        except Exception:
            log.exception("what follows an answer went wrong")

    def _settle(self, loaded: Loaded) -> None:
        """Answer the expired, and put a version that still has requests behind the others."""
        queue = loaded.queue
        if queue.expired:
            expired, queue.expired = queue.expired, []
            account = self._accounts.of(loaded.name, loaded.version)
            for waiting in expired:
                account.note_failure(waiting, monotonic())
                _expire(waiting)
        self._waiting.pop(loaded, None)
        if queue:
            self._waiting[loaded] = None
        elif loaded.is_retired:
            loaded.finish_if_drained()

    def _schedule(self, wake_s: float | None) -> None:
        """Flush again next tick for what can run then; a lane that is done flushes for what had to wait for one."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if self._is_flush_due:
            return
        now_s = self._loop.time()
        if any(self._can_run(loaded) and self._held_until(loaded) <= now_s for loaded in self._waiting):
            self._is_flush_due = True
            self._loop.call_soon(self._flush)
        elif wake_s is not None:
            self._hold = self._loop.call_at(wake_s, self._flush)

    def _held_until(self, loaded: Loaded) -> float:
        if self._max_delay_s <= 0.0:
            return 0.0
        oldest = loaded.queue.oldest()
        if oldest is None:
            return 0.0
        return hold_until(oldest.arrived_s, loaded.queue.rows, loaded.max_rows, self._max_delay_s)

    def _can_run(self, loaded: Loaded) -> bool:
        return self._lanes.idle > 0 or self._runs_on_loop(loaded)

    def _runs_on_loop(self, loaded: Loaded) -> bool:
        """Whether the next batch is short enough for the loop; a request of very many rows is not."""
        if not loaded.is_inline:
            return False
        oldest = loaded.queue.oldest()
        return oldest is None or oldest.rows <= loaded.inline_rows


def _expire(waiting: Waiting) -> None:
    _answer(waiting, DeadlineExceeded("the request's time limit passed before it was answered"))


def _answer(waiting: Waiting, answer: Answer | Exception) -> None:
    deliver = waiting.end()
    if deliver is None:
        return
    try:
        deliver(answer)
    except Exception:
        log.exception("an answer could not be delivered")
