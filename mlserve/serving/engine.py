"""The engine: requests are queued as they arrive, and what one tick of the event loop brought goes together.

    infer ─► queue of the version ─► end of the tick: flush
                                       ├── cheap version: run here, answer, next tick takes the rest
                                       └── others: each idle lane takes an equal share ─► answers on the loop

No timer is involved unless a hold (``max_delay_s`` or an objective) or a deadline asks for one: a lone request runs at
the end of the tick that brought it, and batches grow by themselves with the load. What a request costs here is paid by
every request, so there is no future, no task and no log line for one, and the clock is read once a tick. Decisions are
made in ``batching``, ``holding`` and ``admission``.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from math import inf
from time import monotonic, thread_time
from typing import Protocol
from weakref import WeakKeyDictionary

from mlserve.core.slo import Slo
from mlserve.errors import DeadlineExceeded, MlserveError, Overloaded, Unavailable, Unsupported
from mlserve.serving.accounting import Accounts
from mlserve.serving.admission import Pacing, has_room
from mlserve.serving.batching import Waiting, equal_share, is_lone, preferred_rows, rank_of
from mlserve.serving.caching import OnShared, Sharing
from mlserve.serving.holding import Curve, hold_until
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.repository import Repository
from mlserve.serving.seam import (
    Answer,
    Deliver,
    InferRequest,
    ModelStatistics,
    ModelStatus,
    ModelView,
    RunTiming,
    Ticket,
)
from mlserve.serving.splitting import Whole

log = logging.getLogger(__name__)


OnAnswered = Callable[[Loaded, Run], None]
"""What follows an answer: called once a run, on the loop, when its answers have been handed over and counted.

``run`` has the requests with their decoded tensors and unit keys, and the outputs or the error; of a request in pieces
each piece is in a run of its own, marked ``is_piece`` but for the last. It must be quick, and copy what it keeps of a
run that was inline. What it raises is logged; no request notices.
"""


class OnDemand(Protocol):
    """What loads and unloads when a client asks; as ``seam.Engine`` says."""

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None: ...

    async def unload(self, model: str) -> None: ...


class BatchingEngine:
    """The one implementation of ``seam.Engine``. Everything happens on the loop's thread but the runs in lanes.

    ``cache_bytes`` and ``is_single_flight`` are for ``caching.Sharing``, which is not there at all while both are off;
    ``on_shared`` is what follows an answer that no run was made for.
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
    ) -> None:
        self._repository = repository
        self._lanes = lanes
        self._loop = loop
        self._max_queue_rows = max_queue_rows
        self._max_delay_s = max_delay_s
        self._preferred = tuple(preferred_rows)
        self._timeout_s = timeout_s
        self._slo = slo
        self._holds = max_delay_s > 0.0 or slo is not None
        self._on_demand = on_demand
        self._on_answered = on_answered
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
        self._pacings: WeakKeyDictionary[Loaded, Pacing] = WeakKeyDictionary()
        self._ends_s: dict[int, float] = {}
        self._waiting: dict[Loaded, None] = {}
        self._pieces: deque[tuple[Loaded, Waiting]] = deque()
        self._is_pieces_turn = False
        self._is_flush_due = False
        self._tick_s = 0.0
        self._hold: TimerHandle | None = None
        self._is_draining = False

    def infer(self, request: InferRequest, deliver: Deliver) -> Ticket:
        """Admit ``request``; see ``seam.Engine.infer``."""
        loaded = self._repository.route(request)
        try:
            rows, key = loaded.intake.admit(request)
            if not self._is_flush_due:
                self._flush_soon()
            queue = loaded.queue
            if (
                self._is_plain
                and rows <= loaded.max_rows
                and request.deadline_s is None
                and not request.priority
                and queue.rows + queue.later_rows + rows <= self._max_queue_rows
            ):
                # What nearly every request takes; ``_enqueue`` does the same and whatever else there may be to do.
                arrived_s = self._tick_s
                waiting = Waiting(request, deliver, rows, key, arrived_s, arrived_s)
                queue.add(waiting)
                self._waiting[loaded] = None
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
        return not self._waiting and not self._pieces and self._lanes.idle == self._lanes.count

    def _infer(self, loaded: Loaded, rows: int, key: Hashable, request: InferRequest, deliver: Deliver) -> Ticket:
        """Answer a request of any kind: from what is shared, or by letting it wait. Raises Overloaded."""
        if not self._is_flush_due:
            self._flush_soon()
        if self._timeout_s is not None and request.deadline_s is None:
            request.deadline_s = self._tick_s + self._timeout_s
        if self._sharing is not None:
            return self._sharing.infer(loaded, request, deliver, partial(self._enqueue, loaded, rows, key))
        return self._enqueue(loaded, rows, key, request, deliver)

    def _enqueue(self, loaded: Loaded, rows: int, key: Hashable, request: InferRequest, deliver: Deliver) -> Ticket:
        """Let a request wait. Raises Overloaded."""
        queue, arrived_s = loaded.queue, self._tick_s
        if queue.rows and queue.rows + queue.later_rows + rows > self._max_queue_rows:
            self._check_room(loaded, rows, request.priority)
        waiting = Waiting(request, deliver, rows, key, arrived_s, arrived_s)
        if request.deadline_s is not None or request.priority:
            self._rank(loaded, waiting)
        elif self._slo is not None:
            if loaded.is_inline and queue.rows + queue.later_rows + rows <= self._pacing(loaded).carefree_rows:
                waiting.rank = arrived_s + self._slo.limit_s  # as below, at a tenth of the cost
            else:
                self._rank(loaded, waiting)
        if rows > loaded.max_rows and key is not None:
            return self._split(loaded, waiting)
        if request.deadline_s is not None:
            waiting.timer = self._loop.call_at(request.deadline_s, self._expire, loaded, waiting)
        queue.add(waiting)
        self._waiting[loaded] = None
        return waiting

    def _rank(self, loaded: Loaded, waiting: Waiting) -> None:
        """What is not usual about ``waiting``: its deadline, its level, and the objective. Raises Overloaded."""
        request = waiting.request
        due_s = waiting.arrived_s
        if request.deadline_s is not None:
            waiting.deadline_s = request.deadline_s
        if self._slo is not None:
            due_s = min(waiting.deadline_s, due_s + self._slo.limit_s)
        waiting.rank = rank_of(due_s, request.priority)
        if self._slo is not None and not loaded.is_elsewhere:
            self._check_pace(loaded, waiting, due_s)

    def _check_room(self, loaded: Loaded, rows: int, priority: int) -> None:
        queue = loaded.queue
        queued_rows = queue.rows + queue.later_rows
        if has_room(queued_rows, rows, priority, self._max_queue_rows):
            return
        self._accounts.of(loaded.name, loaded.version).note_rejection("queue_full")
        costs = loaded.costs
        raise Overloaded(
            f"{queued_rows} rows wait for '{loaded.name}', and at most {self._max_queue_rows} may",
            retry_after_s=queued_rows * (costs.alpha_s / loaded.max_rows + costs.beta_s) / self._lanes_of(loaded),
        )

    def _check_pace(self, loaded: Loaded, waiting: Waiting, due_s: float) -> None:
        """Raises Overloaded for a request that would not be answered by ``due_s``."""
        now_s, pacing, queue = waiting.arrived_s, self._pacing(loaded), loaded.queue
        pacing.note_arrival(waiting.rows, now_s)
        rows_before = queue.rows_before(waiting.rank) + queue.later_rows
        free_at_s, other_s = [now_s], 0.0
        if not loaded.is_inline:
            free_at_s = [*self._ends_s.values(), *[now_s] * self._lanes.idle]
            if loaded.lanes is not None:
                # What is free beyond its own share is not for this version.
                free_at_s = sorted(free_at_s, reverse=True)[: loaded.lanes]
            others = (other for other in self._waiting if other is not loaded and not other.is_inline)
            other_s = sum(self._pacing(other).work_s(other.queue.rows) for other in others)
        late_s = pacing.late_s(waiting.rows, rows_before, due_s, free_at_s, now_s, other_work_s=other_s)
        if late_s > 0.0:
            self._accounts.of(loaded.name, loaded.version).note_rejection("slo")
            limit_ms = 1e3 * (due_s - now_s)
            raise Overloaded(
                f"'{loaded.name}' would not answer within {limit_ms:.3g} ms: {rows_before} rows go first",
                retry_after_s=late_s,
            )

    def _split(self, loaded: Loaded, waiting: Waiting) -> Ticket:
        """Cut a large request into pieces, as many at a time as there are lanes."""

        def make(request: InferRequest, rows: int) -> Waiting:
            arrived_s, rank = waiting.arrived_s, waiting.rank
            return Waiting(request, None, rows, waiting.key, arrived_s, rank, waiting.deadline_s)

        deliver = waiting.deliver

        def deliver_or_move(answer: Answer | Exception) -> None:
            """What a challenger cannot answer goes to the champion whole: no answer is of two versions."""
            if isinstance(answer, Exception) and not isinstance(answer, DeadlineExceeded):
                whole.moved = self._moved(loaded, waiting.request, deliver)
                if whole.moved is not None:
                    return
            if deliver is not None:
                deliver(answer)

        if waiting.request.version is None:
            waiting.deliver = deliver_or_move
        whole = Whole(waiting, loaded.queue, loaded.max_rows, make, partial(self._send_piece, loaded))
        if waiting.request.deadline_s is not None:
            whole.timer = self._loop.call_at(waiting.request.deadline_s, self._expire, loaded, whole)
        whole.start(self._lanes.count)
        return whole

    def _moved(self, challenger: Loaded, request: InferRequest, deliver: Deliver | None) -> Ticket | None:
        """The ticket of ``request`` with the champion; None where there is none or it does not take it."""
        champion = self._repository.champion_over(challenger)
        if champion is None or deliver is None:
            return None
        try:
            rows, key = champion.intake.admit(request)
            return self._enqueue(champion, rows, key, request, deliver)
        except MlserveError:
            return None

    def _send_piece(self, loaded: Loaded, piece: Waiting, sent_before: int) -> None:
        if not self._is_flush_due:
            self._flush_soon()
        if sent_before >= self._lanes.count:
            # Behind those that came while the ones before it ran.
            piece.rank = max(piece.rank, rank_of(self._tick_s, piece.request.priority))
        if loaded.is_inline:
            loaded.running += 1
            self._pieces.append((loaded, piece))
        else:
            loaded.queue.add(piece)
            self._waiting[loaded] = None

    def _flush_soon(self) -> None:
        self._is_flush_due = True
        self._tick_s = monotonic()
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Give out what waits: one batch each of those that run on the loop, then the idle lanes in turn to the others.

        ``_waiting`` is in the order of turns: who was given a lane goes behind those who were not.
        """
        self._is_flush_due = False
        now_s = monotonic()
        wake_s = inf
        off_loop: deque[Loaded] = deque()
        has_more = False
        for loaded in tuple(self._waiting):
            holds = self._holds or loaded.max_delay_s
            if holds and (until_s := self._held_until(loaded, now_s)) > now_s:
                wake_s = min(wake_s, until_s)
            elif loaded.is_inline and self._is_short(loaded):
                self._run_inline(loaded, now_s)
                self._settle(loaded)
                has_more = has_more or bool(loaded.queue)
            elif loaded.is_elsewhere:
                self._fill_own_lane(loaded, now_s)
            else:
                off_loop.append(loaded)
        if off_loop or self._pieces:
            self._fill_lanes(off_loop, now_s)
        if has_more and not self._is_flush_due:
            self._flush_soon()
        if wake_s < inf or self._hold is not None:
            self._wake_at(wake_s)

    def _run_inline(self, loaded: Loaded, now_s: float) -> None:
        batch = loaded.queue.take(self._limit(loaded, 1), now_s)
        if batch:
            # Not the wall clock: a machine that is busy with something else says nothing about the model.
            start_s = thread_time()
            runs = loaded.execute(batch)
            loaded.note_inline_run(thread_time() - start_s)
            self._deliver(loaded, runs)

    def _fill_lanes(self, turn: deque[Loaded], now_s: float) -> None:
        """Idle lanes to those in ``turn``, one each while there are others, and to pieces of light versions."""
        lanes = self._lanes
        while lanes.idle and (turn or self._pieces):
            self._is_pieces_turn = not self._is_pieces_turn
            if self._pieces and (self._is_pieces_turn or not turn):
                loaded, piece = self._pieces.popleft()
                loaded.running -= 1
                if piece.deliver is not None:
                    self._submit(loaded, [piece], now_s)
                else:
                    loaded.finish_if_drained()
                continue
            if not turn:
                continue
            loaded = turn.popleft()
            queue = loaded.queue
            share = max(1, lanes.idle // (len(turn) + 1))
            if loaded.lanes is not None:
                share = min(share, loaded.lanes - loaded.running)
                if share <= 0:
                    continue  # its next run begins when one of its own has ended
            batch = queue.take(self._limit(loaded, share), now_s)
            if batch:
                self._submit(loaded, batch, now_s)
                if queue:
                    turn.append(loaded)
            self._settle(loaded)

    def _fill_own_lane(self, loaded: Loaded, now_s: float) -> None:
        """The next batch of a version that another process computes, if that has answered the last."""
        lane = loaded.own_lane
        if lane is None:
            lane = loaded.own_lane = Lanes(1, self._loop)
            lane.start()
        if not lane.idle:
            return
        batch = loaded.queue.take(loaded.max_rows, now_s)
        if batch:
            loaded.running += 1
            lane.submit(partial(loaded.execute, batch), partial(self._after_lane, loaded, id(batch)))
        self._settle(loaded)

    def _submit(self, loaded: Loaded, batch: list[Waiting], now_s: float) -> None:
        loaded.running += 1
        number = id(batch)
        if self._slo is not None:
            rows = sum([waiting.rows for waiting in batch])
            self._ends_s[number] = now_s + self._pacing(loaded).curve.mean_s(rows)
        lanes, queue = self._lanes, loaded.queue
        left = len(queue) + queue.later_rows + len(self._pieces)
        has_all = is_lone(len(batch), left, len(self._waiting), lanes.idle, lanes.count)
        execute = loaded.execute_alone if has_all else loaded.execute
        lanes.submit(partial(execute, batch), partial(self._after_lane, loaded, number))

    def _after_lane(self, loaded: Loaded, number: int, runs: Sequence[Run]) -> None:
        self._ends_s.pop(number, None)
        self._deliver(loaded, runs)
        loaded.running -= 1
        loaded.finish_if_drained()
        if (self._waiting or self._pieces) and not self._is_flush_due:
            self._flush_soon()

    def _deliver(self, loaded: Loaded, runs: Sequence[Run]) -> None:
        account = self._accounts.of(loaded.name, loaded.version)
        for run in runs:
            batch: Sequence[Waiting] = run.batch
            gone: list[Waiting] = []
            has_pieces = loaded.queue.wholes > 0
            outcome = run.outcome
            if isinstance(outcome, Exception) and self._has_other_arm(loaded, batch[0]):
                account.note_failure(batch[0], monotonic())
                if self._on_answered is not None:
                    self._tell_answered(self._on_answered, loaded, run)
                continue
            for waiting, answer in zip(batch, run.answers(), strict=True):
                deliver = waiting.deliver
                if deliver is None:
                    gone.append(waiting)
                    continue
                waiting.deliver = None
                if waiting.timer is not None:
                    waiting.timer.cancel()
                    waiting.timer = None
                try:
                    deliver(answer)
                except Exception:
                    log.exception("an answer could not be delivered")
            ended_s = monotonic()
            if isinstance(outcome, Exception):
                if not gone:
                    account.note_failure(batch[0], ended_s)
            elif outcome.timing is not None:
                if gone or has_pieces:
                    batch = [waiting for waiting in batch if not waiting.is_piece and waiting not in gone]
                account.note_run(batch, outcome.timing, ended_s)
                if self._slo is not None:
                    self._note_pace(loaded, run.batch, outcome.timing, ended_s)
            if self._on_answered is not None:
                self._tell_answered(self._on_answered, loaded, run)

    def _has_other_arm(self, challenger: Loaded, waiting: Waiting) -> bool:
        """Whether ``waiting``, which ``challenger`` could not answer, goes to the champion instead."""
        if waiting.request.version is not None or waiting.deliver is None or waiting.is_piece:
            return False
        champion = self._repository.champion_over(challenger)
        if champion is None:
            return False
        try:
            waiting.rows, waiting.key = champion.intake.admit(waiting.request)
            self._check_room(champion, waiting.rows, waiting.request.priority)
        except MlserveError:
            return False
        champion.queue.add(waiting)
        self._waiting[champion] = None
        if not self._is_flush_due:
            self._flush_soon()
        return True

    def _tell_answered(self, on_answered: OnAnswered, loaded: Loaded, run: Run) -> None:
        try:
            on_answered(loaded, run)
        except Exception:
            log.exception("what follows an answer went wrong")

    def _note_pace(self, loaded: Loaded, batch: Sequence[Waiting], timing: RunTiming, ended_s: float) -> None:
        pacing = self._pacing(loaded)
        late = sum([ended_s - waiting.arrived_s > pacing.slo.limit_s for waiting in batch])
        pacing.note_run(timing.rows, ended_s - timing.taken_s, len(batch), late)

    def _pacing(self, loaded: Loaded) -> Pacing:
        pacing = self._pacings.get(loaded)
        if pacing is None:
            assert self._slo is not None, "nothing is paced without an objective"
            curve = Curve(loaded.costs, self._slo.percentile)
            pacing = self._pacings[loaded] = Pacing(self._slo, curve, useful_rows=loaded.max_rows)
        return pacing

    def _limit(self, loaded: Loaded, lanes: int) -> int:
        """How many rows the next batch may have, that ``lanes`` idle ones share what waits with."""
        most = loaded.max_rows if self._slo is None else min(loaded.max_rows, self._pacing(loaded).max_rows)
        limit_rows = equal_share(loaded.queue.rows, lanes, most)
        return preferred_rows(limit_rows, self._preferred) if self._preferred else limit_rows

    def _settle(self, loaded: Loaded) -> None:
        """Answer the expired, and put a version that still has requests behind the others."""
        queue = loaded.queue
        if queue.expired:
            expired, queue.expired = queue.expired, []
            for waiting in expired:
                self._expire(loaded, waiting)
        self._waiting.pop(loaded, None)
        if queue:
            self._waiting[loaded] = None
        elif loaded.is_retired:
            loaded.finish_if_drained()

    def _wake_at(self, wake_s: float) -> None:
        """Flush again when the first hold ends."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if wake_s < inf and not self._is_flush_due:
            self._hold = self._loop.call_at(wake_s, self._flush)

    def _held_until(self, loaded: Loaded, now_s: float) -> float:
        queue = loaded.queue
        first = queue.oldest()
        if first is None:
            return 0.0
        until_s = 0.0
        max_delay_s = self._max_delay_s if loaded.max_delay_s is None else loaded.max_delay_s
        if max_delay_s > 0.0:
            until_s = hold_until(first.arrived_s, queue.rows, loaded.max_rows, max_delay_s, self._preferred)
        if self._slo is not None and not loaded.is_inline and not loaded.is_elsewhere:
            due_s = min(first.deadline_s, first.arrived_s + self._slo.limit_s)
            pacing = self._pacing(loaded)
            until_s = max(until_s, pacing.hold_until(now_s, first.arrived_s, queue.rows, due_s, self._lanes_of(loaded)))
        return until_s

    def _lanes_of(self, loaded: Loaded) -> int:
        """How many runs of ``loaded`` there may be at a time."""
        return self._lanes.count if loaded.lanes is None else min(loaded.lanes, self._lanes.count)

    def _is_short(self, loaded: Loaded) -> bool:
        """Whether the next batch is short enough for the loop; a lone request of very many rows is not."""
        first = loaded.queue.oldest()
        return first is None or first.rows <= loaded.inline_rows

    def _expire(self, loaded: Loaded, waiting: Waiting | Whole) -> None:
        deliver = waiting.end()
        if deliver is None:
            return
        account = self._accounts.of(loaded.name, loaded.version)
        account.note_rejection("expired")
        account.note_shared([waiting.arrived_s], monotonic(), is_failure=True)
        try:
            deliver(DeadlineExceeded("the request's time limit passed before it was answered"))
        except Exception:
            log.exception("an answer could not be delivered")
