"""What follows an answer where a version is in shadow: production's runs go into the ring of its process.

    note ─► list ── 2 ms later, replies written long since ──► chosen requests ─► frame ─► ring      full: counted

Only the list is touched while answers are handed over: an event loop may write replies when it has called everybody, so
what is done at once might come before them; and several runs together cost less.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from zlib import crc32

from mlserve.core.assignment import CHAMPION, arm_of, salt_of
from mlserve.core.refs import Stage
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.routing import key_in
from mlserve.serving.seam import Answer, InferRequest
from mlserve.serving.shadow.mirrored import chosen, frame_of
from mlserve.serving.shadow.ring import Ring
from mlserve.serving.taking import Taking
from mlserve.traffic.recorded import Recorded

log = logging.getLogger(__name__)

FLUSH_S = 2e-3
MAX_PENDING = 256
"""Runs that may wait for their turn; more are copied at once, so that nobody holds on to much memory."""


class Reflection:
    """One shadow as the mirror sees it: whose answers go where, and which share of them.

    ``champion`` is the version whose answers count. ``share`` is from 0 to 1: of requests with a unit key those of a
    share of all keys, of others by the CRC-32 of their ids, as a capture's share is.
    """

    def __init__(self, name: str, version: int, champion: int, share: float, ring: Ring) -> None:
        self.name = name
        self.champion = champion
        self.share = share
        self.ring = ring
        self._salt = salt_of(name, version)
        self._threshold = round(share * (1 << 32))

    def takes(self, request: InferRequest, key_input: str | None) -> bool:
        """Whether ``request``, which production answered, is mirrored."""
        if request.version is not None:
            return False
        if self.share >= 1.0:
            return True
        key = request.unit_key
        if key is None and key_input is not None:
            key = key_in(request, key_input)
        if key is not None:
            return arm_of(key, self._salt, (self.share,)) != CHAMPION
        return crc32(request.id) < self._threshold


class Mirror:
    """Copies what production answers to the shadows of ``reflections``, by model. On the loop's thread."""

    def __init__(
        self, loop: AbstractEventLoop, *, hash_key: Callable[[str], str] | None = None, key_input: str | None = None
    ) -> None:
        self.reflections: dict[str, Reflection] = {}
        self._loop = loop
        self._key_input = key_input
        self._taking = Taking(hash_key)
        self._pending: list[tuple[Loaded, Run]] = []
        self._shared: list[tuple[Loaded, InferRequest, float, Answer]] = []
        self._flushing: TimerHandle | None = None

    def note(self, loaded: Loaded, run: Run) -> None:
        """Remember a run whose answers were handed over; see ``engine.OnAnswered``."""
        reflection = self.reflections.get(loaded.name)
        if reflection is None or not _counts(reflection, loaded) or isinstance(run.outcome, Exception):
            return
        self._pending.append((loaded, run))
        self._soon()

    def note_shared(self, loaded: Loaded, request: InferRequest, arrived_s: float, answer: Answer | Exception) -> None:
        """Remember a request that was answered with what another had been, or had been kept."""
        reflection = self.reflections.get(loaded.name)
        if reflection is None or not _counts(reflection, loaded) or isinstance(answer, Exception):
            return
        self._shared.append((loaded, request, arrived_s, answer))
        self._soon()

    def flush(self) -> None:
        """Copy what is remembered."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        pending, self._pending = self._pending, []
        shared, self._shared = self._shared, []
        self._taking.set_clock()
        for loaded, run in pending:
            reflection = self.reflections.get(loaded.name)
            if reflection is not None and reflection.champion == loaded.version:
                self._copy(reflection, loaded, run)
        for loaded, request, arrived_s, answer in shared:
            reflection = self.reflections.get(loaded.name)
            if (
                reflection is not None
                and reflection.champion == loaded.version
                and reflection.takes(request, self._key_input)
            ):
                _write(reflection, self._taking.of_shared(loaded, request, arrived_s, answer))

    def _soon(self) -> None:
        if self._flushing is None:
            self._flushing = self._loop.call_later(FLUSH_S, self.flush)
        elif len(self._pending) + len(self._shared) == MAX_PENDING:
            self._flushing.cancel()
            self._flushing = self._loop.call_later(0.0, self.flush)

    def _copy(self, reflection: Reflection, loaded: Loaded, run: Run) -> None:
        requests = [waiting.request for waiting in run.batch]
        keep = [reflection.takes(request, self._key_input) for request in requests]
        if not any(keep):
            return
        try:
            taken = list(self._taking.of_run(loaded, run))
        except Exception:
            log.exception("a run could not be mirrored")
            reflection.ring.note_dropped(sum(keep))
            return
        at = 0
        for one in taken:
            part = chosen(one, keep[at : at + one.requests])
            at += one.requests
            if part is not None:
                _write(reflection, part)


def _counts(reflection: Reflection, loaded: Loaded) -> bool:
    """Whether what ``loaded`` answers is production's: a version that was replaced answers what it still has."""
    return loaded.version == reflection.champion and Stage.PRODUCTION in loaded.stages


def _write(reflection: Reflection, one: Recorded) -> None:
    ring = reflection.ring
    arrays = [*(one.inputs or {}).values(), *(one.outputs or {}).values()]
    if ring.free_bytes < sum([array.nbytes for array in arrays]):
        ring.note_dropped(one.requests)  # without taking the trouble to lay it out
        return
    if one.inputs is None or one.outputs is None or not ring.write(frame_of(one), one.requests):
        ring.note_dropped(one.requests)
