"""What a request may need before it waits: a place in the order, a check, cutting up, or another version's queue.

The engine lets in by itself what needs none of this.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Hashable
from functools import partial

from mlserve.errors import DeadlineExceeded, MlserveError, Overloaded
from mlserve.serving.accounting import Accounts
from mlserve.serving.admission import has_room
from mlserve.serving.batching import Waiting, rank_of
from mlserve.serving.delivering import Delivering
from mlserve.serving.dispatching import Dispatch
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded
from mlserve.serving.pacing import Paces
from mlserve.serving.repository import Repository
from mlserve.serving.seam import Answer, Deliver, InferRequest, Ticket
from mlserve.serving.splitting import Whole


class Queueing:
    """Lets requests of every kind wait. On the loop's thread."""

    def __init__(
        self,
        repository: Repository,
        dispatch: Dispatch,
        delivering: Delivering,
        accounts: Accounts,
        lanes: Lanes,
        loop: AbstractEventLoop,
        *,
        max_queue_rows: int,
        paces: Paces | None = None,
    ) -> None:
        self._repository = repository
        self._dispatch = dispatch
        self._delivering = delivering
        self._accounts = accounts
        self._lanes = lanes
        self._loop = loop
        self._max_queue_rows = max_queue_rows
        self._paces = paces

    def enqueue(self, loaded: Loaded, rows: int, key: Hashable, request: InferRequest, deliver: Deliver) -> Ticket:
        """Let a request wait, in a tick that a flush will end. Raises Overloaded."""
        queue, arrived_s, paces = loaded.queue, self._dispatch.tick_s, self._paces
        if queue.rows and queue.rows + queue.later_rows + rows > self._max_queue_rows:
            self._check_room(loaded, rows, request.priority)
        waiting = Waiting(request, deliver, rows, key, arrived_s, arrived_s)
        if request.deadline_s is not None or request.priority:
            self._rank(loaded, waiting)
        elif paces is not None:
            if loaded.is_inline and queue.rows + queue.later_rows + rows <= paces.of(loaded).carefree_rows:
                waiting.rank = arrived_s + paces.slo.limit_s  # as below, at a tenth of the cost
            else:
                self._rank(loaded, waiting)
        if rows > loaded.max_rows and key is not None:
            return self._split(loaded, waiting)
        if request.deadline_s is not None:
            waiting.timer = self._loop.call_at(request.deadline_s, self._delivering.expire, loaded, waiting)
        queue.add(waiting)
        self._dispatch.waiting[loaded] = None
        return waiting

    def retry(self, challenger: Loaded, waiting: Waiting) -> bool:
        """Whether ``waiting``, which ``challenger`` could not answer, waits for the champion instead."""
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
        self._dispatch.waiting[champion] = None
        if not self._dispatch.is_due:
            self._dispatch.flush_soon()
        return True

    def _rank(self, loaded: Loaded, waiting: Waiting) -> None:
        """What is not usual about ``waiting``: its deadline, its level, and the objective. Raises Overloaded."""
        request = waiting.request
        due_s = waiting.arrived_s
        if request.deadline_s is not None:
            waiting.deadline_s = request.deadline_s
        if self._paces is not None:
            due_s = min(waiting.deadline_s, due_s + self._paces.slo.limit_s)
        waiting.rank = rank_of(due_s, request.priority)
        if self._paces is not None and not loaded.is_elsewhere:
            self._paces.check(loaded, waiting, due_s, self._dispatch.waiting)

    def _check_room(self, loaded: Loaded, rows: int, priority: int) -> None:
        queue = loaded.queue
        queued_rows = queue.rows + queue.later_rows
        if has_room(queued_rows, rows, priority, self._max_queue_rows):
            return
        self._accounts.of(loaded.name, loaded.version).note_rejection("queue_full")
        costs = loaded.costs
        raise Overloaded(
            f"{queued_rows} rows wait for '{loaded.name}', and at most {self._max_queue_rows} may",
            retry_after_s=queued_rows
            * (costs.alpha_s / loaded.max_rows + costs.beta_s)
            / self._lanes.most_of(loaded.lanes),
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
            whole.timer = self._loop.call_at(waiting.request.deadline_s, self._delivering.expire, loaded, whole)
        whole.start(self._lanes.count)
        return whole

    def _moved(self, challenger: Loaded, request: InferRequest, deliver: Deliver | None) -> Ticket | None:
        """The ticket of ``request`` with the champion; None where there is none or it does not take it."""
        champion = self._repository.champion_over(challenger)
        if champion is None or deliver is None:
            return None
        try:
            rows, key = champion.intake.admit(request)
            return self.enqueue(champion, rows, key, request, deliver)
        except MlserveError:
            return None

    def _send_piece(self, loaded: Loaded, piece: Waiting, sent_before: int) -> None:
        dispatch = self._dispatch
        if not dispatch.is_due:
            dispatch.flush_soon()
        if sent_before >= self._lanes.count:
            # Behind those that came while the ones before it ran.
            piece.rank = max(piece.rank, rank_of(dispatch.tick_s, piece.request.priority))
        if loaded.is_inline:
            loaded.running += 1
            dispatch.pieces.append((loaded, piece))
        else:
            loaded.queue.add(piece)
            dispatch.waiting[loaded] = None
