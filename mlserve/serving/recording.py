"""What follows an answer, where traffic is captured: one small object a run, and a thread that writes them.

note ─► list ──0.4 s, or 8 MiB of it──► thread: ``CaptureWriter``      full: dropped and counted
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from concurrent.futures import Future

from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.seam import Answer, InferRequest
from mlserve.serving.taking import Taking
from mlserve.serving.threads import OneThread
from mlserve.traffic.recorded import Recorded
from mlserve.traffic.writing import CaptureWriter, get_ready

log = logging.getLogger(__name__)

FLUSH_S = 0.4
"""How long what was recorded waits to be written: what a killed server loses. Less often costs less."""

FLUSH_BYTES = 8 << 20
TEND_S = 1.0


class Recorder:
    """Records every run for ``writer``, holding on to ``max_bytes`` at most; what comes beyond that is dropped."""

    def __init__(self, loop: AbstractEventLoop, writer: CaptureWriter, *, max_bytes: int) -> None:
        self._loop = loop
        self._writer = writer
        self._max_bytes = max_bytes
        self._thread = OneThread("capture")
        self._ring: list[Recorded] = []
        self._ring_bytes = 0
        self._unwritten_bytes = 0
        self.hash_key = writer.redaction.unit_key
        self._taking = Taking(self.hash_key)
        self._flushing: TimerHandle | None = None
        self._dropped = 0
        self._thread.submit(get_ready)
        self._tending = loop.call_later(TEND_S, self._tend)

    @property
    def dropped(self) -> int:
        """Requests that are not in the capture: there was no room for them, or the disk did not take them."""
        return self._dropped + self._writer.dropped

    @property
    def written(self) -> int:
        return self._writer.written

    @property
    def written_bytes(self) -> int:
        return self._writer.written_bytes

    def note(self, loaded: Loaded, run: Run) -> None:
        """Take a run whose answers were handed over; see ``engine.OnAnswered``."""
        for one in self._taking.of_run(loaded, run):
            self._keep(one)

    def note_shared(self, loaded: Loaded, request: InferRequest, arrived_s: float, answer: Answer | Exception) -> None:
        """Take a request that was answered with what another had been, or had been kept."""
        self._keep(self._taking.of_shared(loaded, request, arrived_s, answer))

    def close(self, timeout_s: float) -> None:
        """Write and seal what is left, as long as ``timeout_s``."""
        self._tending.cancel()
        self._hand_over()
        done: Future[None] = self._thread.submit(self._writer.close)
        self._thread.shutdown()
        try:
            done.result(timeout_s)
        except TimeoutError:
            log.warning("the capture was not finished within %g s: its last segment stays open", timeout_s)

    def _keep(self, one: Recorded) -> None:
        size = one.size_bytes
        if self._ring_bytes + self._unwritten_bytes + size > self._max_bytes:
            self._dropped += one.requests
            return
        self._ring.append(one)
        self._ring_bytes += size
        if self._ring_bytes >= FLUSH_BYTES:
            self._hand_over()
        elif self._flushing is None:
            self._flushing = self._loop.call_later(FLUSH_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        ring, self._ring = self._ring, []
        size, self._ring_bytes = self._ring_bytes, 0
        if ring:
            self._unwritten_bytes += size
            self._thread.submit(self._write, ring).add_done_callback(lambda _: self._forget(size))

    def _write(self, ring: list[Recorded]) -> None:
        self._writer.write(ring)

    def _forget(self, size: int) -> None:
        """In the thread: an integer is changed there and in the loop, which a lost race would leave wrong for good."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._written, size)

    def _written(self, size: int) -> None:
        self._unwritten_bytes -= size

    def _tend(self) -> None:
        self._taking.set_clock()
        self._thread.submit(self._writer.tend)
        self._tending = self._loop.call_later(TEND_S, self._tend)
