"""What follows an answer, where traffic is captured: one small object a run, and a thread that writes them.

note ─► list ──0.4 s, or 8 MiB of it──► thread: ``CaptureWriter``      full: dropped and counted
"""

from __future__ import annotations

import logging
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Sequence
from concurrent.futures import Future
from weakref import WeakKeyDictionary

from mlserve.core.refs import Stage
from mlserve.errors import MlserveError
from mlserve.serving.batching import Waiting
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.seam import Answer, BatchOutputs, InferRequest
from mlserve.serving.threads import OneThread
from mlserve.traffic.records import Recorded, Source
from mlserve.traffic.writing import CaptureWriter

log = logging.getLogger(__name__)

FLUSH_S = 0.4
"""How long what was recorded waits to be written: what a killed server loses. Less often costs less."""

FLUSH_BYTES = 8 << 20
TEND_S = 1.0
OK = 200
FAILED = 500


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
        self._sources: WeakKeyDictionary[Loaded, Source] = WeakKeyDictionary()
        self._epoch_s = time.time() - time.monotonic()
        self._runs = 0
        self._flushing: TimerHandle | None = None
        self._dropped = 0
        self._redaction = writer.redaction
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
        outcome, batch = run.outcome, run.batch
        self._runs += 1
        if isinstance(outcome, Exception):
            for waiting in batch:
                self._keep(self._failed(loaded, waiting.request, waiting.arrived_s, outcome))
            return
        if outcome.inputs is None or outcome.lengths is not None:
            # Filled up to a common length: what is recorded is what was sent, and what was answered.
            for waiting, answer in zip(batch, run.answers(), strict=True):
                assert isinstance(answer, Answer)
                one = self._alone(loaded, waiting.request, waiting.arrived_s, answer)
                self._with_run(one, batch, outcome)
                self._keep(one)
            return
        one = Recorded(
            source=self._source(loaded),
            ids=[waiting.request.id for waiting in batch],
            arrived_s=[waiting.arrived_s for waiting in batch],
            status=OK,
            inputs=outcome.inputs,
            outputs=outcome.arrays,
            is_sliced=outcome.is_sliced,
            epoch_s=self._epoch_s,
            stage=_stage_of(loaded),
            rows=None if len(batch) == outcome.rows else [waiting.rows for waiting in batch],
        )
        self._with_run(one, batch, outcome, computes_all=loaded.computes_all)
        self._keep(one)

    def note_shared(self, loaded: Loaded, request: InferRequest, arrived_s: float, answer: Answer | Exception) -> None:
        """Take a request that was answered with what another had been, or had been kept."""
        if isinstance(answer, Exception):
            self._keep(self._failed(loaded, request, arrived_s, answer))
        else:
            self._keep(self._alone(loaded, request, arrived_s, answer))

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

    def _source(self, loaded: Loaded) -> Source:
        source = self._sources.get(loaded)
        if source is None:
            view = loaded.view
            source = self._sources[loaded] = Source(loaded.name, loaded.version, loaded.digest, view.signature)
        return source

    def _with_run(
        self, one: Recorded, batch: Sequence[Waiting], outcome: BatchOutputs, *, computes_all: bool = False
    ) -> None:
        """What all the same can be said of requests that are recorded together or each by itself."""
        timing = outcome.timing
        if timing is not None:
            one.taken_s = timing.taken_s
            one.compute_s = timing.ran_s - timing.gathered_s
        one.batch_id, one.batch_rows = self._runs, outcome.rows
        if one.requests < len(batch):
            return
        requests = [waiting.request for waiting in batch]
        if any([request.version is not None for request in requests]):
            one.pinned = [request.version is not None for request in requests]
        if any([request.unit_key is not None for request in requests]):
            one.unit_keys = [self._hash(request.unit_key) for request in requests]
        if not computes_all and any([request.outputs is not None for request in requests]):
            one.asked = [request.outputs or None for request in requests]
        if any([waiting.first_row for waiting in batch]):
            one.first_rows = [waiting.first_row for waiting in batch]

    def _alone(self, loaded: Loaded, request: InferRequest, arrived_s: float, answer: Answer) -> Recorded:
        one = self._begun(loaded, request, arrived_s, OK)
        one.outputs = {tensor.name: tensor.array() for tensor in answer.outputs}
        return one

    def _failed(self, loaded: Loaded, request: InferRequest, arrived_s: float, error: Exception) -> Recorded:
        return self._begun(loaded, request, arrived_s, error.http_status if isinstance(error, MlserveError) else FAILED)

    def _begun(self, loaded: Loaded, request: InferRequest, arrived_s: float, status: int) -> Recorded:
        try:
            inputs = loaded.intake.gather([request])
        except MlserveError:  # values that are none of the input's type, which is why it failed
            inputs = None
        rows = request.inputs[0].shape[0] if request.inputs and request.inputs[0].shape else 1
        return Recorded(
            source=self._source(loaded),
            ids=[request.id],
            arrived_s=[arrived_s],
            status=status,
            inputs=inputs,
            outputs=None,
            is_sliced=False,
            epoch_s=self._epoch_s,
            stage=_stage_of(loaded),
            rows=[rows],
            pinned=[request.version is not None],
            unit_keys=[self._hash(request.unit_key)],
        )

    def _hash(self, unit_key: str | None) -> str | None:
        return None if unit_key is None else self._redaction.unit_key(unit_key)

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
        self._epoch_s = time.time() - time.monotonic()  # clocks are set now and then
        self._thread.submit(self._writer.tend)
        self._tending = self._loop.call_later(TEND_S, self._tend)


def _stage_of(loaded: Loaded) -> str:
    """For what a version is asked that no request names: the champion's stage, or the challenger's."""
    stages = loaded.stages
    return str(Stage.PRODUCTION) if Stage.PRODUCTION in stages else stages[0] if stages else ""
