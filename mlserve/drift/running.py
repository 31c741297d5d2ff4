"""One check at a time: a lease across hosts that is renewed while the check runs, a time limit, a watermark that waits.

with time_limit(S) ──▶ with alone(…) as turn ──▶ read state, check ──▶ record_run(…, lease=turn.lease)

A check that is killed leaves its lease to run out. One that was away for longer (a laptop that slept) finds out when it
records: the token of its lease is no longer the last, and nothing of it is kept.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from types import FrameType

from mlserve.core.durations import length_of
from mlserve.core.evidence import isoformat
from mlserve.core.settings import DriftSettings
from mlserve.drift.windows import Bounds, SinceLast, WindowWords
from mlserve.errors import Conflict, DeadlineExceeded, Unavailable
from mlserve.registry.leases import Lease, acquire, holder_of, release, renew
from mlserve.registry.store import Store

Clock = Callable[[], datetime]

LEASE_S = 60.0
"""A killed check keeps others out for at most so long."""
LOOK_S = 1.0
"""How often one that waits for its turn asks."""
AGAIN_S = 5.0
"""A library may swallow the end of the time limit, so it comes again."""


class Turn:
    """The right to check, for as long as it is renewed."""

    def __init__(self, store: Store, lease: Lease, clock: Clock, ttl_s: float) -> None:
        self.lease = lease
        self._store = store
        self._clock = clock
        self._ttl_s = ttl_s

    def require(self) -> None:
        """Renew it now. Raises Conflict where it was lost, Unavailable."""
        self.lease = renew(self._store, self.lease, now=self._clock(), ttl_s=self._ttl_s)

    def keep(self, is_over: Callable[[float], bool]) -> None:
        """Renew it three times in its length, until ``is_over``, which waits so many seconds, or until it is lost."""
        while not is_over(self._ttl_s / 3):
            try:
                self.require()
            except Conflict:
                return  # recording will say so
            except Unavailable:
                continue  # the lease outlives two renewals that did not arrive


def lease_name(model: str, profile_digest: str) -> str:
    """What checks of a model against one profile take turns on.

    >>> lease_name("fraud", "sha256:" + "ab" * 32)
    'drift fraud abababababab'
    """
    return f"drift {model} {profile_digest.removeprefix('sha256:')[:12]}"


def this_process() -> str:
    """Who holds a lease, in words that lead to the process."""
    return f"{socket.gethostname()} (process {os.getpid()})"


@contextmanager
def alone(
    store: Store,
    name: str,
    *,
    clock: Clock,
    holder: str | None = None,
    ttl_s: float = LEASE_S,
    wait_s: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Turn]:
    """The turn to do what ``name`` says, let go at the end; waits for up to ``wait_s`` seconds where another has it.

    Raises Conflict naming who has it, Unavailable.
    """
    turn = Turn(store, _taken(store, name, holder or this_process(), clock, ttl_s, wait_s, sleep), clock, ttl_s)
    ended = threading.Event()
    keeper = threading.Thread(target=turn.keep, args=(ended.wait,), name="drift lease", daemon=True)
    keeper.start()
    try:
        yield turn
    finally:
        ended.set()
        keeper.join()
        with suppress(Unavailable):  # it runs out by itself, and the answer is worth more
            release(store, turn.lease, now=clock())


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises DeadlineExceeded in the block when ``seconds`` have passed; None is no limit.

    For a process's main thread, which a signal interrupts between two steps of Python; a call into a library that does
    not come back is what a unit's own limit is for (``drift install`` writes one).
    """
    if seconds is None:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise DeadlineExceeded(f"the check took longer than {seconds:g} s", hint="--timeout with more seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def watermark_after(words: WindowWords, verdict: str, bounds: Bounds, before: datetime | None) -> datetime | None:
    """Up to when rows were looked at, once a check of ``bounds`` is recorded.

    Only ``since-last`` moves it, and never back. Rows too few to judge stay, for the next check to have more.

    >>> from datetime import UTC
    >>> day = [datetime(2026, 3, n, tzinfo=UTC) for n in (1, 2)]
    >>> watermark_after(SinceLast(), "ok", Bounds(*day), day[0]) == day[1]
    True
    >>> watermark_after(SinceLast(), "insufficient", Bounds(*day), day[0]) == day[0]
    True
    """
    if not isinstance(words, SinceLast) or bounds.end is None or verdict in ("insufficient", "stale"):
        return before
    return bounds.end if before is None else max(before, bounds.end)


def catch_up_of(settings: DriftSettings) -> timedelta:
    """How far back ``since-last`` looks at most, as ``drift.max_catch_up`` says. Raises InvalidConfig."""
    return length_of(settings.max_catch_up, "drift.max_catch_up")


def skipped(bounds: Bounds) -> str | None:
    """What lies too far back to be looked at, in words; None where nothing does."""
    if bounds.skipped_from is None or bounds.start is None:
        return None
    return f"not looked at, for it lies too far back: {isoformat(bounds.skipped_from)} to {isoformat(bounds.start)}"


def _taken(
    store: Store,
    name: str,
    holder: str,
    clock: Clock,
    ttl_s: float,
    wait_s: float,
    sleep: Callable[[float], None],
) -> Lease:
    until = clock() + timedelta(seconds=wait_s)
    while True:
        lease = acquire(store, name, holder, now=clock(), ttl_s=ttl_s)
        if lease is not None:
            return lease
        if clock() >= until:
            break
        sleep(LOOK_S)
    other = holder_of(store, name, now=clock())
    who = f"{other.holder} has its turn until {isoformat(other.expires_at)}" if other else "its turn just ended"
    raise Conflict(f"another check is running ('{name}'): {who}", hint="--wait S waits for it")
