"""An event loop in virtual time whose own work is what is short: requests wait in sockets until a tick reads them."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from mlserve.core.slo import Slo
from mlserve.runtime.costs import Costs
from mlserve.serving.admission import Pacing
from mlserve.serving.batching import RowQueue, Waiting
from mlserve.serving.holding import Curve, hold_until
from mlserve.serving.ticks import Ticks
from tests.serving.simulating import NOBODY, Outcome


@dataclass(frozen=True)
class Loop:
    """One loop that runs a cheap model: what each request costs it, in seconds.

    A run of b rows takes alpha + beta·b, turning its answers into bytes included; ``write_s`` for each is after it.
    ``stall_s`` is how long something else keeps the processor, ``stalled`` times what the loop has of it.
    """

    read_s: float = 12e-6
    refuse_s: float = 12e-6
    write_s: float = 4e-6
    alpha_s: float = 30e-6
    beta_s: float = 6e-6
    useful_rows: int = 256
    jitter: float = 0.5
    stall_s: float = 0.0
    stalled: float = 0.0

    @property
    def capacity(self) -> float:
        """Requests a second, in full batches."""
        stretch = 1.0 + (self.stalled if self.stall_s else 0.0)
        return 1.0 / stretch / (self.read_s + self.write_s + self.beta_s + self.alpha_s / self.useful_rows)


def simulate_loop(
    loop: Loop,
    arrivals_s: Sequence[float],
    seed: int,
    *,
    slo: Slo | None = None,
    window_s: float = 0.0,
    clients: int = 0,
    knows_clients: bool = True,
) -> Outcome:
    """Requests of one row that are due at ``arrivals_s``, over so many connections (0: one each).

    With an objective; else all are taken, with a fixed window if there is one. Latency counts from when a request was
    due, also where no connection was free to ask on.
    """
    return _Simulation(loop, arrivals_s, seed, slo, window_s, clients, knows_clients=knows_clients).run()


class _Simulation:
    def __init__(
        self,
        loop: Loop,
        arrivals_s: Sequence[float],
        seed: int,
        slo: Slo | None,
        window_s: float,
        clients: int,
        *,
        knows_clients: bool,
    ) -> None:
        self._loop = loop
        self._rng = random.Random(seed)
        self._due = deque(arrivals_s)
        self._free = clients or inf
        self._known = clients if knows_clients else 0
        self._window_s = window_s
        self._ticks = None if slo is None else Ticks(slo.limit_s)
        costs = Costs(loop.alpha_s, loop.beta_s, has_control_flow=False)
        self._pacing = (
            None
            if slo is None
            else Pacing(slo, Curve(costs, slo.percentile), useful_rows=loop.useful_rows, is_inline=True)
        )
        self._queue = RowQueue()
        self._sockets: list[float] = []
        self._due_of: dict[int, float] = {}
        self._now_s = self._cpu_s = 0.0
        self.outcome = Outcome(len(arrivals_s))

    def run(self) -> Outcome:
        while self._wait():
            began_s = self._now_s
            if self._ticks is not None:
                self._ticks.begin(began_s, self._cpu_s, self._known)
            self._read(began_s)
            read_until_s = self._cpu_s
            answered = self._flush()
            if self._ticks is not None:
                self._ticks.end(self._now_s, read_until_s)
            self._spend(len(answered) * self._loop.write_s)
            for due_s in answered:
                self.outcome.latencies_s.append(self._now_s - due_s)
            self._free += len(answered)
        return self.outcome

    def _spend(self, busy_s: float) -> None:
        self._cpu_s += busy_s
        self._now_s += busy_s
        if self._loop.stall_s and self._rng.random() < self._loop.stalled * busy_s / self._loop.stall_s:
            self._now_s += self._loop.stall_s

    def _wait(self) -> bool:
        """Until there is something to read or to run; whether there will be."""
        self._arrive()
        held_s = self._held_until()
        if not self._sockets and held_s > self._now_s:
            wake_s = min(held_s, self._due[0] if self._due and self._free else inf)
            if wake_s == inf:
                return False
            self._now_s = max(self._now_s, wake_s)
            self._arrive()
        return True

    def _held_until(self) -> float:
        oldest = self._queue.oldest()
        if oldest is None:
            return inf
        return hold_until(oldest.arrived_s, self._queue.rows, self._loop.useful_rows, self._window_s)

    def _arrive(self) -> None:
        while self._due and self._due[0] <= self._now_s and self._free:
            self._sockets.append(self._due.popleft())
            self._free -= 1

    def _read(self, began_s: float) -> None:
        sockets, self._sockets = self._sockets, []
        for due_s in sockets:
            if self._is_refused():
                self._spend(self._loop.refuse_s)
                self.outcome.refused += 1
                self._free += 1
                continue
            self._spend(self._loop.read_s * self._rng.lognormvariate(0.0, self._loop.jitter))
            waiting = Waiting(NOBODY, None, 1, (), began_s, began_s)
            self._queue.add(waiting)
            self._due_of[waiting.number] = due_s
        self.outcome.longest_queue = max(self.outcome.longest_queue, self._queue.rows)

    def _is_refused(self) -> bool:
        """As ``Paces.check_tick``."""
        ticks = self._ticks
        if ticks is None:
            return False
        assert self._pacing is not None
        ticks.read += 1
        if ticks.read < ticks.look_at:
            return False
        is_refused = ticks.is_full or not ticks.has_room(self._now_s, self._pacing.work_s(self._queue.rows))
        ticks.refused += is_refused
        return is_refused

    def _flush(self) -> list[float]:
        """One batch, unless it is held; when its requests were due."""
        if not self._queue or self._held_until() > self._now_s:
            return []
        began_s = self._now_s
        most = self._loop.useful_rows if self._pacing is None else self._pacing.max_rows
        batch = self._queue.take(most, began_s)
        rows = len(batch)
        run_s = (self._loop.alpha_s + self._loop.beta_s * rows) * self._rng.lognormvariate(0.0, self._loop.jitter / 5)
        self._spend(run_s)
        if self._pacing is not None:
            self._pacing.note_run(rows, run_s, rows, 0)
        self.outcome.batches.append(rows)
        return [self._due_of.pop(waiting.number) for waiting in batch]
