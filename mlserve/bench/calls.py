"""Load by calls within this process: closed and open loop over whatever answers through a callback on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time, sleep

from mlserve.bench.clients import RIGHT
from mlserve.bench.outcomes import UNANSWERED, Outcome
from mlserve.bench.stretches import Stretch

Verdict = str
Ask = Callable[[int, Callable[[Verdict], None]], None]
"""Begin request number n, and call with the verdict, ``RIGHT`` or a kind of failure, later: not from within."""

_TURN_S = 0.1


async def run_calls(ask: Ask, stretch: Stretch, on_turn: Callable[[], None] = lambda: None) -> Outcome:
    """Do ``stretch`` with ``ask``, on the running loop."""
    calls = _Calls(ask, stretch)
    began_s = process_time()
    if stretch.due is None:
        for _ in range(stretch.concurrency):
            calls.begin(perf_counter())
    else:
        # A thread, for an event loop's own timers are in whole milliseconds.
        feed = partial(_feed, (stretch.due + calls.began_s).tolist(), calls, asyncio.get_running_loop())
        threading.Thread(target=feed, name="arrivals", daemon=True).start()
    while perf_counter() < calls.end_s or calls.is_open:
        await asyncio.sleep(_TURN_S if perf_counter() + _TURN_S < calls.end_s else 1e-3)
        calls.outcome.latencies.fold()
        on_turn()
        if perf_counter() > calls.end_s + stretch.drain_s:
            break
    calls.outcome.cpu_s = process_time() - began_s
    return calls.closed()


class _Calls:
    """The calls of one stretch. Everything happens on the loop's thread."""

    def __init__(self, ask: Ask, stretch: Stretch) -> None:
        self.outcome = Outcome(stretch.duration_s)
        self.began_s = perf_counter()
        self.end_s = self.began_s + stretch.warmup_s + stretch.duration_s
        self._counted_from_s = self.began_s + stretch.warmup_s
        self._ask = ask
        self._is_closed_loop = stretch.due is None
        self._room = stretch.concurrency
        self._number = 0
        self._under_way: dict[int, float] = {}
        self._waiting: deque[float] = deque()
        self._is_over = False

    @property
    def is_open(self) -> bool:
        return bool(self._under_way or self._waiting)

    def arrive(self, due_s: float) -> None:
        """A request of an open loop is due."""
        if len(self._under_way) < self._room:
            if due_s >= self._counted_from_s:
                self.outcome.lags.add(perf_counter() - due_s)
            self.begin(due_s)
        else:
            self._waiting.append(due_s)

    def begin(self, due_s: float) -> None:
        number = self._number
        self._number = number + 1
        self._under_way[number] = due_s
        self._ask(number, partial(self._end, number))

    def closed(self) -> Outcome:
        """The outcome; what comes later is ignored, and what has not come is unanswered."""
        self._is_over = True
        for due_s in (*self._under_way.values(), *self._waiting):
            if due_s >= self._counted_from_s:
                self.outcome.failures[UNANSWERED] += 1
        return self.outcome

    def _end(self, number: int, verdict: Verdict) -> None:
        now_s = perf_counter()
        due_s = self._under_way.pop(number)
        if self._is_over:
            return
        if due_s >= self._counted_from_s:
            if verdict is RIGHT:
                self._note(due_s, now_s)
            else:
                self.outcome.failures[verdict] += 1
        elif verdict is RIGHT and self._is_closed_loop:
            self.outcome.note_early(due_s, now_s, self._counted_from_s, self.end_s)
        if self._is_closed_loop:
            if now_s < self.end_s:
                self.begin(now_s)
        elif self._waiting:
            self.begin(self._waiting.popleft())

    def _note(self, due_s: float, now_s: float) -> None:
        self.outcome.latencies.add(now_s - due_s)
        if now_s > self.end_s:
            if self._is_closed_loop:
                self.outcome.note_late(due_s, now_s, self.end_s)
            else:
                self.outcome.took_s = now_s - self._counted_from_s


def _feed(times: list[float], calls: _Calls, loop: asyncio.AbstractEventLoop) -> None:
    for due_s in times:
        if (left_s := due_s - perf_counter()) > 0:
            sleep(left_s)
        try:
            loop.call_soon_threadsafe(calls.arrive, due_s)
        except RuntimeError:  # the loop was closed: nobody is left to ask
            return
