"""Keeps so many workers running: starts them, restarts what crashes, replaces them one by one, ends them all."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from mlserve.errors import MlserveError
from mlserve.serving.events import Emit
from mlserve.serving.supervising.backoff import Backoff
from mlserve.serving.supervising.snapshots import SUFFIX, keep_departed, keep_seen, snapshot_of
from mlserve.serving.supervising.workers import Event, Worker

log = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)
LOOK_S = 2.0
"""How often each worker's counters are looked at, which is what a crash may cost of them."""

GRACE_S = 5.0
"""Beyond the time that a drain may take, before a worker is killed."""

Start = Callable[[int, Callable[[Worker, Event], None]], Awaitable[Worker]]
"""Starts the worker of a seat."""


class Supervisor:
    """``count`` workers made by ``start``. Events go to ``emit``, "ready" once, when all are.

    What comes before "ready" shall wait in ``emit`` for it, as it does in ``events.Events``.
    """

    def __init__(self, start: Start, count: int, folder: Path, emit: Emit, *, drain_s: float) -> None:
        self._start = start
        self._count = count
        self._folder = folder
        self._emit = emit
        self._drain_s = drain_s
        self._workers: dict[int, Worker] = {}
        self._backoffs = [Backoff() for _ in range(count)]
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self._beginning: set[Worker] = set()

    async def run(self) -> signal.Signals:
        """Until SIGTERM or SIGINT, which is returned. Raises what keeps the first workers from becoming ready."""
        loop = asyncio.get_running_loop()
        for number in (*ENDING, signal.SIGHUP):
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        try:
            ended = await self._begin()
            if ended is None:
                self._soon(self._look_often())
                ended = await self._follow_signals()
            self._emit({"event": "draining", "signal": ended.name})
            return ended
        finally:
            await self._end()

    async def _begin(self) -> signal.Signals | None:
        """Start all; a signal that comes before they are ready."""
        workers = [await self._start(number, self._forward) for number in range(self._count)]
        self._workers = {worker.number: worker for worker in workers}
        ready = asyncio.gather(*(worker.ready for worker in workers))
        ended = asyncio.ensure_future(self._ending_signal())
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            return ended.result()
        ended.cancel()
        first = ready.result()[0]
        for worker in workers:
            self._soon(self._keep(worker))
        self._emit({**first, "workers": [worker.pid for worker in workers]})
        return None

    async def _ending_signal(self) -> signal.Signals:
        while (number := await self._signals.get()) not in ENDING:
            pass
        return number

    async def _follow_signals(self) -> signal.Signals:
        replacing: asyncio.Task[None] | None = None
        while True:
            number = await self._signals.get()
            if number in ENDING:
                return number
            if replacing is None or replacing.done():
                replacing = self._soon(self._replace_all())

    async def _replace_all(self) -> None:
        """A new worker in each seat, ready before the old one drains; one that does not get ready changes nothing."""
        self._emit({"event": "restarting", "workers": self._count})
        for seat in range(self._count):
            new = await self._begun(seat)
            if not await self._is_ready(new):
                return
            old, self._workers[seat] = self._workers[seat], new
            self._soon(self._keep(new))
            old.stop()
            await self._await_end(old)
        self._emit({"event": "restarted", "workers": [worker.pid for worker in self._workers.values()]})

    async def _keep(self, worker: Worker) -> None:
        """Wait for the end of ``worker``; if it was not meant to end, start another in its seat until one is ready."""
        # Shielded, for the end cancels this task, and still has to wait for the worker.
        code = await asyncio.shield(worker.ended)
        keep_departed(self._folder, str(worker.pid))
        if worker.is_leaving or self._is_ending:
            return
        loop, seat = asyncio.get_running_loop(), worker.number
        lived_s = loop.time() - worker.started_s
        self._emit({"event": "worker_lost", "worker": seat, "pid": worker.pid, "code": code})
        while not self._is_ending:
            await asyncio.sleep(self._backoffs[seat].after(lived_s))
            if self._workers[seat] is not worker:
                return  # a replacement that was under way has the seat
            new = await self._begun(seat)
            if await self._is_ready(new):
                break
            lived_s = loop.time() - new.started_s
        if self._workers[seat] is not worker:
            new.stop()
            return
        self._workers[seat] = new
        self._emit({"event": "worker_started", "worker": seat, "pid": new.pid})
        self._soon(self._keep(new))

    async def _begun(self, seat: int) -> Worker:
        """A new worker for ``seat``, which it does not have before it is ready."""
        worker = await self._start(seat, self._forward)
        self._beginning.add(worker)
        worker.ended.add_done_callback(lambda _: self._beginning.discard(worker))
        return worker

    async def _is_ready(self, worker: Worker) -> bool:
        """Whether ``worker`` became ready; if not, it is told why."""
        try:
            await asyncio.shield(worker.ready)
        except MlserveError as error:
            self._emit({"event": "worker_failed", "worker": worker.number, "reason": error.message})
            return False
        self._beginning.discard(worker)
        return True

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for worker in list(self._workers.values()):
                await self._look(worker)

    async def _look(self, worker: Worker) -> None:
        found = await snapshot_of(self._folder / f"{worker.pid}{SUFFIX}")
        if found is not None:
            keep_seen(self._folder, str(worker.pid), found)

    async def _end(self) -> None:
        """Drain every worker; another signal, or too long a drain, kills those that are left."""
        self._is_ending = True
        for task in self._tasks:
            task.cancel()
        known = {*self._workers.values(), *self._beginning}
        workers = [worker for worker in known if not worker.ended.done()]
        for worker in workers:
            worker.stop()
        if not workers:
            return
        everybody = asyncio.gather(*(worker.ended for worker in workers), return_exceptions=True)
        again = asyncio.ensure_future(self._ending_signal())
        await asyncio.wait((everybody, again), timeout=self._drain_s + GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        for worker in workers:
            if not worker.ended.done():
                worker.stop(signal.SIGKILL)
        await everybody

    async def _await_end(self, worker: Worker) -> None:
        done, _ = await asyncio.wait((worker.ended,), timeout=self._drain_s + GRACE_S)
        if not done:
            worker.stop(signal.SIGKILL)
            await asyncio.wait((worker.ended,))

    def _forward(self, worker: Worker, event: Event) -> None:
        self._emit({**event, "worker": worker.number})

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
