"""Answers given twice: from the response cache, or from a run that is under way for the same inputs (single flight).

    request ─► key ─┬─ kept ──────────► its answer, at the end of the tick
                    ├─ in flight ─────► joins it: one row in the batch, an answer for each
                    └─ neither ───────► runs, is kept

Keys hold the inputs themselves, names, types and shapes and the outputs asked for: a hash only finds the place, then
all of it is compared. Answers belong to one loaded version, and go with it. What draws random numbers is never shared.
"""

from __future__ import annotations

import logging
import weakref
from asyncio import AbstractEventLoop, TimerHandle
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic, perf_counter_ns
from typing import Any, Protocol

import msgspec
import numpy as np

from mlserve.errors import DeadlineExceeded
from mlserve.serving.accounting import Account, Accounts
from mlserve.serving.gathering import convert
from mlserve.serving.loaded import Loaded
from mlserve.serving.seam import Answer, BatchOutputs, Deliver, InferRequest, InputTensor, Ticket

log = logging.getLogger(__name__)

Key = tuple[Any, ...]

ENTRY_BYTES = 1024
"""What keeping an answer costs beside its arrays and its key."""


class Enqueue(Protocol):
    """Puts a request among those that wait; raises what ``Engine.infer`` raises."""

    def __call__(self, request: InferRequest, deliver: Deliver) -> Ticket: ...


class _Member:
    """One of those who wait for the same answer, and the ticket of its sender."""

    __slots__ = ("arrived_s", "deliver", "flight", "timer")

    def __init__(self, deliver: Deliver, arrived_s: float, flight: _Flight | None) -> None:
        self.deliver: Deliver | None = deliver
        self.arrived_s = arrived_s
        self.flight = flight
        self.timer: TimerHandle | None = None

    def cancel(self) -> None:
        self.end()

    def end(self) -> Deliver | None:
        """Who is to be told, the first time; a flight that nobody is left in is called off."""
        deliver, self.deliver = self.deliver, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        flight, self.flight = self.flight, None
        if flight is not None and deliver is not None:
            flight.leave(self)
        return deliver


class _Flight:
    """One run that several requests wait for."""

    __slots__ = ("key", "members", "shelf", "ticket")

    def __init__(self, shelf: _Shelf, key: Key) -> None:
        self.shelf = shelf
        self.key = key
        self.members: list[_Member] = []
        self.ticket: Ticket | None = None

    def leave(self, member: _Member) -> None:
        self.members.remove(member)
        if not self.members and self.ticket is not None:
            self.shelf.flights.pop(self.key, None)
            self.ticket.cancel()
            self.ticket = None


class _Kept(msgspec.Struct, gc=False):
    keys: set[Key]
    arrays: dict[str, np.ndarray[Any, Any]]
    rows: int
    is_sliced: bool
    size_bytes: int


class _Shelf:
    """What is shared of one loaded version."""

    __slots__ = ("account", "flights", "is_repeatable", "keys")

    def __init__(self, loaded: Loaded, account: Account) -> None:
        self.account = account
        self.is_repeatable = loaded.is_repeatable
        self.flights: dict[Key, _Flight] = {}
        self.keys: set[Key] = set()


OnShared = Callable[[Loaded, InferRequest, float, Answer | Exception], None]
"""Takes the version that was asked, the request, when it came (``monotonic()``), and its answer. It must be quick."""


class Sharing:
    """The response cache of ``max_bytes`` (0: none) and, where ``is_single_flight``, the joining of equal requests.

    ``on_shared`` is called for each request that is answered without a run of its own, after its answer.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        accounts: Accounts,
        *,
        max_bytes: int,
        is_single_flight: bool,
        on_shared: OnShared | None = None,
    ) -> None:
        self._loop = loop
        self._on_shared = on_shared
        self._accounts = accounts
        self._max_bytes = max_bytes
        self._is_single_flight = is_single_flight
        self._shelves: weakref.WeakKeyDictionary[Loaded, _Shelf] = weakref.WeakKeyDictionary()
        self._kept: OrderedDict[tuple[int, Key], _Kept] = OrderedDict()
        self.kept_bytes = 0
        self._hits: list[tuple[_Member, Answer, Account]] = []

    def infer(self, loaded: Loaded, request: InferRequest, deliver: Deliver, enqueue: Enqueue) -> Ticket:
        """Answer ``request`` from what is shared, or have it run by ``enqueue``. Raises InvalidInput as a run would."""
        shelf = self._shelf_of(loaded)
        if not shelf.is_repeatable:
            return enqueue(request, deliver)
        start_ns = perf_counter_ns()
        key = key_of(request)
        if self._max_bytes:
            kept = self._kept.get((id(shelf), key))
            lookup_ns = perf_counter_ns() - start_ns
            if kept is not None:
                self._kept.move_to_end((id(shelf), key))
                shelf.account.note_cache_hit(lookup_ns)
                return self._hit(loaded, shelf, kept, request, self._told(loaded, request, deliver))
        flight = shelf.flights.get(key)
        if flight is not None:
            return self._join(flight, request, self._told(loaded, request, deliver))
        if self._max_bytes:
            shelf.account.note_cache_miss(lookup_ns)
        return self._run(loaded, shelf, key, request, deliver, enqueue)

    def follow(self, on_shared: OnShared | None) -> None:
        """Have ``on_shared`` called for requests that come from now on, in place of what was."""
        self._on_shared = on_shared

    def _told(self, loaded: Loaded, request: InferRequest, deliver: Deliver) -> Deliver:
        """``deliver``, after which ``on_shared`` is called where there is one."""
        on_shared = self._on_shared
        if on_shared is None:
            return deliver
        arrived_s = monotonic()

        def deliver_and_tell(answer: Answer | Exception) -> None:
            deliver(answer)
            on_shared(loaded, request, arrived_s, answer)

        return deliver_and_tell

    def _shelf_of(self, loaded: Loaded) -> _Shelf:
        shelf = self._shelves.get(loaded)
        if shelf is None:
            shelf = self._shelves[loaded] = _Shelf(loaded, self._accounts.of(loaded.name, loaded.version))
            weakref.finalize(loaded, self._clear, shelf).atexit = False
        return shelf

    def _hit(self, loaded: Loaded, shelf: _Shelf, kept: _Kept, request: InferRequest, deliver: Deliver) -> Ticket:
        # A batch of its own each time: what front ends keep with a batch would grow a kept one unseen.
        batch = BatchOutputs(loaded.view, kept.arrays, kept.rows, is_sliced=kept.is_sliced)
        answer = Answer(batch, 0, kept.rows if kept.is_sliced else None, request.outputs or None)
        member = _Member(deliver, monotonic(), None)
        if not self._hits:
            self._loop.call_soon(self._tell_hits)
        self._hits.append((member, answer, shelf.account))
        return member

    def _tell_hits(self) -> None:
        hits, self._hits = self._hits, []
        for member, answer, account in hits:
            _tell([member], answer, account)

    def _join(self, flight: _Flight, request: InferRequest, deliver: Deliver) -> Ticket:
        member = _Member(deliver, monotonic(), flight)
        flight.members.append(member)
        if request.deadline_s is not None:
            member.timer = self._loop.call_at(request.deadline_s, _expire, member, flight.shelf.account)
        return member

    def _run(
        self, loaded: Loaded, shelf: _Shelf, key: Key, request: InferRequest, deliver: Deliver, enqueue: Enqueue
    ) -> Ticket:
        whose = weakref.ref(loaded)
        if not self._is_single_flight:

            def kept_first(answer: Answer | Exception) -> None:
                self._keep(whose(), shelf, key, answer)
                deliver(answer)

            return enqueue(request, kept_first)
        flight = _Flight(shelf, key)

        def land(answer: Answer | Exception) -> None:
            shelf.flights.pop(key, None)
            flight.ticket = None
            self._keep(whose(), shelf, key, answer)
            members, flight.members = flight.members, []
            # The one that was run is in the run's own account; all others got theirs for nothing.
            _tell(members, answer, shelf.account, counted_from=1)

        # Each member gives up for itself; the run goes on as long as one waits.
        flight.ticket = enqueue(msgspec.structs.replace(request, deadline_s=None), land)
        shelf.flights[key] = flight
        return self._join(flight, request, deliver)

    def _keep(self, loaded: Loaded | None, shelf: _Shelf, key: Key, answer: Answer | Exception) -> None:
        if not self._max_bytes or loaded is None or loaded.is_retired or isinstance(answer, Exception):
            return
        if answer.version != str(loaded.version):
            return  # what a challenger could not answer was answered by the champion
        # Copies: a view would keep the whole batch.
        arrays = {output.name: output.array().copy() for output in answer.outputs}
        size_bytes = ENTRY_BYTES + _key_bytes(key) + sum(_array_bytes(array) for array in arrays.values())
        if size_bytes > self._max_bytes or key in shelf.keys:
            return
        while self._kept and self.kept_bytes + size_bytes > self._max_bytes:
            (_, oldest), kept = self._kept.popitem(last=False)
            self.kept_bytes -= kept.size_bytes
            kept.keys.discard(oldest)
        rows = answer.batch.rows if answer.stop is None else answer.stop - answer.start
        self._kept[id(shelf), key] = _Kept(shelf.keys, arrays, rows, answer.stop is not None, size_bytes)
        self.kept_bytes += size_bytes
        shelf.keys.add(key)

    def _clear(self, shelf: _Shelf) -> None:
        for key in shelf.keys:
            kept = self._kept.pop((id(shelf), key), None)
            if kept is not None:
                self.kept_bytes -= kept.size_bytes
        shelf.keys.clear()


def key_of(request: InferRequest) -> Key:
    """What two requests must have equal to get the same answer: outputs asked for, and every input whole.

    The bytes are those of the type the model takes, so JSON and binary requests share. Raises InvalidInput for values
    that do not fit their type.
    """
    inputs = [(one.name, one.dtype, one.shape, _content(one)) for one in request.inputs]
    if len(inputs) > 1:
        inputs.sort(key=lambda one: one[0])
    return (request.outputs or None, *inputs)


def _content(tensor: InputTensor) -> bytes | tuple[str, ...]:
    values = tensor.values
    array = convert(tensor, values) if isinstance(values, list) else values
    return tuple(array.ravel().tolist()) if array.dtype.kind == "O" else array.tobytes()


def _key_bytes(key: Key) -> int:
    return sum(len(part) if isinstance(part, bytes) else sum(map(len, part)) + 64 * len(part) for *_, part in key[1:])


def _array_bytes(array: np.ndarray[Any, Any]) -> int:
    if array.dtype.kind == "O":
        return int(array.nbytes) + sum(len(text) + 49 for text in array.ravel().tolist())
    return int(array.nbytes)


def _tell(members: list[_Member], answer: Answer | Exception, account: Account, *, counted_from: int = 0) -> None:
    arrivals_s: list[float] = []
    for number, member in enumerate(members):
        member.flight = None
        deliver = member.end()
        if deliver is None:
            continue
        if number >= counted_from:
            arrivals_s.append(member.arrived_s)
        own = answer if isinstance(answer, Exception) else msgspec.structs.replace(answer)
        try:
            deliver(own)
        except Exception:
            log.exception("an answer could not be delivered")
    if arrivals_s:
        account.note_shared(arrivals_s, monotonic(), is_failure=isinstance(answer, Exception))


def _expire(member: _Member, account: Account) -> None:
    arrived_s = member.arrived_s
    deliver = member.end()
    if deliver is not None:
        account.note_rejection("expired")
        account.note_shared([arrived_s], monotonic(), is_failure=True)
        deliver(DeadlineExceeded("the request's time limit passed before it was answered"))
