"""Load over HTTP or gRPC: closed loop (each client asks again when it is answered) and open loop (on a schedule).

An open loop's requests are due at times fixed in advance, and each latency counts from then: what a stalled server
keeps waiting is counted with all of its wait, also where no connection was free to ask on (Tene, "How NOT to Measure
Latency": the coordinated omission). The loop is the same for both; they differ in what a free client does.
"""

from __future__ import annotations

import ctypes
import gc
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time, sleep
from typing import Protocol

from mlserve.bench.arrivals import Offsets
from mlserve.bench.clients import RIGHT, Client, Clients
from mlserve.bench.grpc_clients import GrpcClients
from mlserve.bench.messages import Message
from mlserve.bench.outcomes import REFUSED, UNANSWERED, Outcome
from mlserve.bench.stretches import Stretch
from mlserve.bench.tls_clients import TlsClients
from mlserve.errors import Unavailable

_TURN_S = 0.1
_RECONNECT_S = 0.02
_SET_TIMERSLACK = 29


@dataclass(frozen=True, slots=True)
class Load:
    """A stretch of load for one server, over HTTP (``tls``: HTTPS) or, with the path of a method in ``grpc``, gRPC.

    ``metadata`` goes with each gRPC call. ``start_s``, on the clock that processes share, is when it begins (0: now).
    """

    host: str
    port: int
    messages: Sequence[Message]
    stretch: Stretch
    grpc: str | None = None
    tls: bool = False
    start_s: float = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)


class ClientSet(Protocol):
    """Clients of one server, of whatever protocol; see ``clients.Clients``."""

    all: list[Client]

    def close(self) -> None: ...

    def connect(self, client: Client) -> None: ...

    def ready(self, timeout_s: float) -> list[Client]: ...

    def ask(self, client: Client, message: Message, due_s: float) -> None: ...

    def take(self, client: Client) -> str | None: ...


def run_load(load: Load, on_turn: Callable[[], None] = lambda: None) -> Outcome:
    """Do ``load``; ``on_turn`` is called some times a second. Raises Unavailable if the clients cannot connect."""
    stretch = load.stretch
    clients = _clients(load)
    try:
        while (left_s := load.start_s - perf_counter()) > 0:
            sleep(left_s)
        with _without_collector(), _fine_timers():
            began_s = process_time()
            generator = _Generator(load, clients, on_turn)
            outcome = generator.run_closed() if stretch.due is None else generator.run_open(stretch.due)
            outcome.cpu_s = process_time() - began_s
        return outcome
    finally:
        clients.close()


def _clients(load: Load) -> ClientSet:
    count = load.stretch.concurrency
    if load.grpc is not None:
        return GrpcClients(load.host, load.port, count, load.grpc, load.metadata)
    return (TlsClients if load.tls else Clients)(load.host, load.port, count)


class _Generator:
    """One load under way."""

    def __init__(self, load: Load, clients: ClientSet, on_turn: Callable[[], None]) -> None:
        self._clients = clients
        self._messages = load.messages
        self._on_turn = on_turn
        self._began_s = self._turned_s = perf_counter()
        self._counted_from_s = self._began_s + load.stretch.warmup_s
        self._end_s = self._counted_from_s + load.stretch.duration_s
        self._drain_s = load.stretch.drain_s
        self._outcome = Outcome(load.stretch.duration_s)
        self._is_open = load.stretch.due is not None
        self._down: list[Client] = []

    def run_closed(self) -> Outcome:
        """Each client asks again as soon as it is answered."""
        clients, messages, count = self._clients, self._messages, len(self._messages)
        ready, take, ask, add = clients.ready, clients.take, clients.ask, self._outcome.latencies.add
        counted_from_s, end_s = self._counted_from_s, self._end_s
        now_s = perf_counter()
        for client in clients.all:
            ask(client, messages[client.number % count], now_s)
        at = len(clients.all)
        while now_s < end_s:
            for client in ready(min(_TURN_S, end_s - now_s)):
                verdict = take(client)
                now_s = perf_counter()
                if verdict is RIGHT:
                    if client.due_s >= counted_from_s:
                        add(now_s - client.due_s)
                    else:
                        self._outcome.note_early(client.due_s, now_s, counted_from_s, end_s)
                elif verdict is not None:
                    self._fail(verdict, client.due_s)
                if client.sock is None:
                    self._down.append(client)
                elif client.message is None and now_s < end_s:
                    at += 1
                    ask(client, messages[at % count], now_s)
            now_s = perf_counter()
            self._turn(now_s)
            for client in self._revived(now_s):
                ask(client, messages[client.number % count], now_s)
        self._await_answers(now_s)
        return self._outcome

    def run_open(self, due: Offsets) -> Outcome:
        """Each request is asked when it is due, or as soon after that as a client is free."""
        messages, count = self._messages, len(self._messages)
        times = (due + self._began_s).tolist()
        free = deque(self._clients.all)
        at, total = 0, len(times)
        now_s = perf_counter()
        while at < total and now_s < self._end_s + self._drain_s:
            while at < total and free and times[at] <= now_s:
                self._ask_late(free.popleft(), messages[at % count], times[at])
                at += 1
            wait_s = times[at] - perf_counter() if at < total and free else _TURN_S
            for client in self._clients.ready(min(_TURN_S, max(0.0, wait_s))):
                if self._judge(client):
                    free.append(client)
                elif client.sock is None and client in free:
                    free.remove(client)
            now_s = perf_counter()
            self._turn(now_s)
            free.extend(self._revived(now_s))
        self._await_answers(self._end_s)
        for late_s in times[at:]:
            self._fail(UNANSWERED, late_s)
        return self._outcome

    def _ask_late(self, client: Client, message: Message, due_s: float) -> None:
        if due_s >= self._counted_from_s:
            self._outcome.lags.add(perf_counter() - due_s)
        self._clients.ask(client, message, due_s)

    def _judge(self, client: Client) -> bool:
        """Count the reply that ``client`` has; whether that freed it."""
        was_asked = client.message is not None
        verdict = self._clients.take(client)
        if verdict is RIGHT:
            self._note(client.due_s, perf_counter())
        elif verdict is not None:
            self._fail(verdict, client.due_s)
        if client.sock is None:
            self._down.append(client)
            return False
        return was_asked and client.message is None

    def _note(self, due_s: float, now_s: float) -> None:
        """Count a right answer of an open loop, or one to what a closed loop has still sent in time."""
        outcome = self._outcome
        if due_s < self._counted_from_s:
            if not self._is_open:
                outcome.note_early(due_s, now_s, self._counted_from_s, self._end_s)
            return
        outcome.latencies.add(now_s - due_s)
        if now_s > self._end_s:
            if self._is_open:
                outcome.took_s = now_s - self._counted_from_s
            else:
                outcome.note_late(due_s, now_s, self._end_s)

    def _fail(self, kind: str, due_s: float) -> None:
        if due_s >= self._counted_from_s:
            self._outcome.failures[kind] += 1

    def _revived(self, now_s: float) -> Sequence[Client]:
        """Clients whose server had hung up, connected again; those that cannot be now are tried again in a while."""
        if not self._down:
            return ()
        down, self._down = self._down, []
        revived: list[Client] = []
        for client in down:
            if client.retry_s > now_s:
                self._down.append(client)
                continue
            try:
                self._clients.connect(client)
                revived.append(client)
            except Unavailable:
                self._fail(REFUSED, now_s)
                client.retry_s = now_s + _RECONNECT_S
                self._down.append(client)
        return revived

    def _await_answers(self, since_s: float) -> None:
        """Wait for what is under way when the time is over, but not for ever."""
        clients = self._clients
        while any(client.message for client in clients.all) and perf_counter() < since_s + self._drain_s:
            for client in clients.ready(_TURN_S):
                self._judge(client)
        for client in clients.all:
            if client.message is not None:
                self._fail(UNANSWERED, client.due_s)

    def _turn(self, now_s: float) -> None:
        if now_s - self._turned_s >= _TURN_S:
            self._turned_s = now_s
            self._outcome.latencies.fold()
            self._outcome.lags.fold()
            self._on_turn()


@contextmanager
def _without_collector() -> Iterator[None]:
    """The garbage collector's pauses would count as the server's."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _fine_timers() -> Iterator[None]:
    """Linux lets a thread's timers be 50 µs late, which would count as the server's. Source: prctl(2)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_SET_TIMERSLACK, ctypes.c_ulong(1000), 0, 0, 0)
    try:
        yield
    finally:
        if prctl is not None:
            prctl(_SET_TIMERSLACK, ctypes.c_ulong(0), 0, 0, 0)  # back to what it was
