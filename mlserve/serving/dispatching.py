"""What waits is given out at the end of a tick of the event loop: to the loop itself, or to the lanes that are idle.

    flush ├── cheap version: run here, answer, next tick takes the rest
          └── others: each idle lane takes an equal share ─► answers on the loop

No timer is involved unless a hold asks for one. The clock is read once a tick.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from time import monotonic, thread_time

from mlserve.serving.batching import Waiting, equal_share, is_lone, preferred_rows
from mlserve.serving.delivering import Delivering
from mlserve.serving.holding import hold_until
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.pacing import Paces
from mlserve.serving.ticks import Ticks


class Dispatch:
    """Runs what waits. On the loop's thread.

    ``waiting`` are the versions with requests, in the order of turns: who was given a lane goes behind those who were
    not. ``pieces`` are those of large requests for versions that run on the loop. ``is_due`` says whether a flush ends
    this tick, which began at ``tick_s``.
    """

    def __init__(
        self,
        lanes: Lanes,
        loop: AbstractEventLoop,
        delivering: Delivering,
        *,
        paces: Paces | None = None,
        ticks: Ticks | None = None,
        clients: Callable[[], int] = int,
        max_delay_s: float = 0.0,
        preferred: Sequence[int] = (),
    ) -> None:
        self._lanes = lanes
        self._loop = loop
        self._delivering = delivering
        self._paces = paces
        self._ticks = ticks
        self._clients = clients
        self._max_delay_s = max_delay_s
        self._preferred = tuple(preferred)
        self.waiting: dict[Loaded, None] = {}
        self.pieces: deque[tuple[Loaded, Waiting]] = deque()
        self.is_due = False
        self.tick_s = 0.0
        self._is_pieces_turn = False
        self._hold: TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self.waiting and not self.pieces and self._lanes.idle == self._lanes.count

    def flush_soon(self) -> None:
        """Let a flush end this tick. Only where none is due yet."""
        self.is_due = True
        now_s = self.tick_s = monotonic()
        if self._ticks is not None:
            self._ticks.begin(now_s, thread_time(), self._clients())
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Give out what waits: a batch of each that runs on the loop, then the idle lanes in turn to the others."""
        ticks = self._ticks if self.is_due else None  # a hold may end where no tick began
        read_until_s = 0.0 if ticks is None else thread_time()
        self.is_due = False
        now_s = monotonic()
        wake_s = inf
        off_loop: deque[Loaded] = deque()
        has_more = False
        for loaded in tuple(self.waiting):
            holds = self._max_delay_s or loaded.max_delay_s or (self._paces is not None and not loaded.is_inline)
            if holds and (until_s := self._held_until(loaded, now_s)) > now_s:
                wake_s = min(wake_s, until_s)
            elif loaded.is_inline and _is_short(loaded):
                self._run_inline(loaded, now_s)
                self._settle(loaded)
                has_more = has_more or bool(loaded.queue)
            elif loaded.is_elsewhere:
                self._fill_own_lane(loaded, now_s)
            else:
                off_loop.append(loaded)
        if off_loop or self.pieces:
            self._fill_lanes(off_loop, now_s)
        if ticks is not None:
            ticks.end(monotonic(), read_until_s)
        if has_more and not self.is_due:
            self.flush_soon()
        if wake_s < inf or self._hold is not None:
            self._wake_at(wake_s)

    def _run_inline(self, loaded: Loaded, now_s: float) -> None:
        batch = loaded.queue.take(self._limit(loaded, 1), now_s)
        if batch:
            # Not the wall clock: a machine that is busy with something else says nothing about the model.
            start_s = thread_time()
            runs = loaded.execute(batch)
            loaded.note_inline_run(thread_time() - start_s)
            self._delivering.deliver(loaded, runs)
            if self._paces is not None and self._paces.is_told_of(len(batch)):
                self._paces.note_inline(loaded, batch, thread_time() - start_s)

    def _fill_lanes(self, turn: deque[Loaded], now_s: float) -> None:
        """Idle lanes to those in ``turn``, one each while there are others, and to pieces of light versions."""
        lanes = self._lanes
        while lanes.idle and (turn or self.pieces):
            self._is_pieces_turn = not self._is_pieces_turn
            if self.pieces and (self._is_pieces_turn or not turn):
                loaded, piece = self.pieces.popleft()
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
        if self._paces is not None:
            self._paces.note_begin(number, loaded, batch, now_s)
        lanes, queue = self._lanes, loaded.queue
        left = len(queue) + queue.later_rows + len(self.pieces)
        has_all = is_lone(len(batch), left, len(self.waiting), lanes.idle, lanes.count)
        execute = loaded.execute_alone if has_all else loaded.execute
        lanes.submit(partial(execute, batch), partial(self._after_lane, loaded, number))

    def _after_lane(self, loaded: Loaded, number: int, runs: Sequence[Run]) -> None:
        if self._paces is not None:
            self._paces.note_end(number)
        self._delivering.deliver(loaded, runs)
        if self._paces is not None:
            self._paces.note_runs(loaded, runs, monotonic())
        loaded.running -= 1
        loaded.finish_if_drained()
        if (self.waiting or self.pieces) and not self.is_due:
            self.flush_soon()

    def _limit(self, loaded: Loaded, lanes: int) -> int:
        """How many rows the next batch may have, that ``lanes`` idle ones share what waits with."""
        most = loaded.max_rows if self._paces is None else min(loaded.max_rows, self._paces.of(loaded).max_rows)
        limit_rows = equal_share(loaded.queue.rows, lanes, most)
        return preferred_rows(limit_rows, self._preferred) if self._preferred else limit_rows

    def _settle(self, loaded: Loaded) -> None:
        """Answer the expired, and put a version that still has requests behind the others."""
        queue = loaded.queue
        if queue.expired:
            expired, queue.expired = queue.expired, []
            for waiting in expired:
                self._delivering.expire(loaded, waiting)
        self.waiting.pop(loaded, None)
        if queue:
            self.waiting[loaded] = None
        elif loaded.is_retired:
            loaded.finish_if_drained()

    def _held_until(self, loaded: Loaded, now_s: float) -> float:
        queue = loaded.queue
        first = queue.oldest()
        if first is None:
            return 0.0
        until_s = 0.0
        max_delay_s = self._max_delay_s if loaded.max_delay_s is None else loaded.max_delay_s
        if max_delay_s > 0.0:
            until_s = hold_until(first.arrived_s, queue.rows, loaded.max_rows, max_delay_s, self._preferred)
        if self._paces is not None and not loaded.is_inline and not loaded.is_elsewhere:
            until_s = max(until_s, self._paces.held_until(loaded, first, now_s))
        return until_s

    def _wake_at(self, wake_s: float) -> None:
        """Flush again when the first hold ends."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if wake_s < inf and not self.is_due:
            self._hold = self._loop.call_at(wake_s, self._flush)


def _is_short(loaded: Loaded) -> bool:
    """Whether the next batch is short enough for the loop; a lone request of very many rows is not."""
    first = loaded.queue.oldest()
    return first is None or first.rows <= loaded.inline_rows
