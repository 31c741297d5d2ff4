"""Keeps so many workers running: starts them, restarts what crashes, replaces them one by one, ends them all."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from mlserve.errors import MlserveError
from mlserve.serving.events import Emit
from mlserve.serving.supervising.asking import SUFFIX, Ask, do, told_by
from mlserve.serving.supervising.crashes import Crashes
from mlserve.serving.supervising.snapshots import keep_departed, keep_seen, keep_supervisors
from mlserve.serving.supervising.workers import Event, Worker

log = logging.getLogger(__name__)

Result = TypeVar("Result")

ENDING = (signal.SIGTERM, signal.SIGINT)
LOOK_S = 2.0
"""How often each worker's counters are looked at, which is what a crash may cost of them."""

GRACE_S = 5.0
"""Beyond the time that a drain may take, before a worker is killed."""

Start = Callable[[int, Callable[[Worker, Event], None], bool], Awaitable[Worker]]
"""Starts the worker of a seat, which takes the place of another or (False) begins with the others."""


class Supervisor:
    """``count`` workers made by ``start``. Events go to ``emit``, "ready" once, when all are.

    What comes before "ready" shall wait in ``emit`` for it, as it does in ``events.Events``. ``leave_ports`` closes our
    own copies of the sockets at which clients wait, before the workers close theirs at the end.
    """

    def __init__(
        self,
        start: Start,
        count: int,
        folder: Path,
        emit: Emit,
        *,
        drain_s: float,
        leave_ports: Callable[[], None] = lambda: None,
    ) -> None:
        self._start = start
        self._count = count
        self._folder = folder
        self._emit = emit
        self._drain_s = drain_s
        self._workers: dict[int, Worker] = {}
        self._leave_ports = leave_ports
        self._crashes = Crashes(count)
        self._is_hopeless = asyncio.Event()
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_ending = False
        self._starting: set[asyncio.Task[Worker]] = set()
        self._beginning: set[Worker] = set()

    async def run(self) -> signal.Signals:
        """Until SIGTERM or SIGINT, which is returned.

        Raises what keeps the first workers from becoming ready, or any worker for good once none is left.
        """
        loop = asyncio.get_running_loop()
        for number in (*ENDING, signal.SIGHUP):
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        try:
            ended = await self._begin()
            if ended is None:
                self._soon(self._look_often())
                ended = await self._watch()
            self._emit({"event": "draining", "signal": ended.name})
            return ended
        finally:
            await self._end()

    async def _begin(self) -> signal.Signals | None:
        """Start all; a signal that comes before they are ready."""
        workers = [await self._start(number, self._forward, False) for number in range(self._count)]
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
        self._tell_counts()
        self._emit({**first, "workers": [worker.pid for worker in workers]})
        return None

    async def _ending_signal(self) -> signal.Signals:
        while (number := await self._signals.get()) not in ENDING:
            pass
        return number

    async def _watch(self) -> signal.Signals:
        """Follow signals to the end, unless there is no hope that any worker will start again; then raise why."""
        signals = self._soon(self._follow_signals())
        hopeless = self._soon(self._is_hopeless.wait())
        await asyncio.wait((signals, hopeless), return_when=asyncio.FIRST_COMPLETED)
        if not signals.done() and self._crashes.hopeless is not None:
            raise self._crashes.hopeless
        return await signals

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
            failure = await self._failure_of(new)
            if failure is not None:
                self._emit({"event": "worker_failed", "worker": seat, "reason": failure.message})
                return
            old = self._workers[seat]
            await self._seat(new)
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
        seat = worker.number
        plan = self._crashes.note_lost(seat, worker.lived_s)
        self._emit({"event": "worker_lost", "worker": seat, "pid": worker.pid, "code": code, **plan})
        self._tell_counts()
        # Before anything else: clients wait at its seat.
        await self._have_others(Ask("adopt", seat=seat), seat)
        while not self._is_ending:
            await asyncio.sleep(plan["restart_in_s"])
            if self._workers[seat] is not worker:
                return  # a replacement that was under way has the seat
            self._crashes.note_start(seat)
            self._tell_counts()
            new = await self._begun(seat)
            failure = await self._failure_of(new)
            if failure is None:
                break
            plan = self._crashes.note_failed(seat, failure, new.lived_s)
            self._emit({"event": "worker_failed", "worker": seat, "reason": failure.message, **plan})
            if self._crashes.hopeless is not None:
                self._is_hopeless.set()
        if self._workers[seat] is not worker:
            new.stop()
            return
        await self._seat(new)
        self._emit({"event": "worker_started", "worker": seat, "pid": new.pid})

    async def _seat(self, new: Worker) -> None:
        """Give ``new``, which is ready, its seat, and with the others those of lost workers."""
        self._workers[new.number] = new
        self._soon(self._keep(new))
        was_lost = new.number in self._crashes.lost
        self._crashes.note_ready(new.number)
        self._tell_counts()
        if was_lost:
            await self._have_others(Ask("release", seat=new.number), new.number)
        for seat in self._crashes.lost:
            await self._have(new, Ask("adopt", seat=seat))

    async def _have_others(self, ask: Ask, seat: int) -> None:
        """Have the workers of all seats but ``seat`` do ``ask``."""
        others = [worker for number, worker in self._workers.items() if number != seat and not worker.ended.done()]
        await asyncio.gather(*(self._have(worker, ask) for worker in others))

    async def _have(self, worker: Worker, ask: Ask) -> None:
        try:
            await do(self._folder / f"{worker.pid}{SUFFIX}", ask)
        except MlserveError as error:
            log.warning("worker %d did not %s the clients of worker %d: %s", worker.pid, ask.what, ask.seat, error)

    def _tell_counts(self) -> None:
        keep_supervisors(self._folder, self._crashes.families())

    async def _begun(self, seat: int) -> Worker:
        """A new worker for ``seat``, which it does not have before it is ready."""
        starting = asyncio.get_running_loop().create_task(self._launched(seat))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        # Shielded, for a start that is cut off half way leaves a process that nobody knows.
        return await asyncio.shield(starting)

    async def _launched(self, seat: int) -> Worker:
        worker = await self._start(seat, self._forward, True)
        self._beginning.add(worker)
        worker.ended.add_done_callback(lambda _: self._beginning.discard(worker))
        return worker

    async def _failure_of(self, worker: Worker) -> MlserveError | None:
        """None once ``worker`` is ready, or why it never will be."""
        try:
            await asyncio.shield(worker.ready)
        except MlserveError as error:
            return error
        self._beginning.discard(worker)
        return None

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for worker in list(self._workers.values()):
                await self._look(worker)

    async def _look(self, worker: Worker) -> None:
        try:
            found = await told_by(self._folder / f"{worker.pid}{SUFFIX}")
        except MlserveError:
            return  # it is busy; what it counted is seen the next time
        if found is not None:
            keep_seen(self._folder, str(worker.pid), found)

    async def _end(self) -> None:
        """Drain every worker; another signal, or too long a drain, kills those that are left."""
        self._is_ending = True
        self._leave_ports()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
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

    def _soon(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
