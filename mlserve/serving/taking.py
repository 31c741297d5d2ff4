"""A run whose answers were handed over → what is kept of it: one small object, its arrays as they are.

What captures traffic and what mirrors it to a shadow both begin here, after the reply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from weakref import WeakKeyDictionary

from mlserve.core.refs import Stage
from mlserve.errors import MlserveError
from mlserve.serving.batching import Waiting
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.seam import Answer, BatchOutputs, InferRequest
from mlserve.traffic.recorded import Recorded, Source

OK = 200
FAILED = 500


class Taking:
    """Makes ``Recorded`` of runs. ``hash_key`` is what stands for a unit key; without one, none is kept."""

    def __init__(self, hash_key: Callable[[str], str] | None = None) -> None:
        self._hash_key = hash_key
        self._sources: WeakKeyDictionary[Loaded, Source] = WeakKeyDictionary()
        self._epoch_s = time.time() - time.monotonic()
        self._runs = 0

    def set_clock(self) -> None:
        """Look at the clock again: clocks are set now and then."""
        self._epoch_s = time.time() - time.monotonic()

    def of_run(self, loaded: Loaded, run: Run) -> Iterator[Recorded]:
        """All of a run: as one where its rows lie in one array, request by request where they were filled up."""
        outcome, batch = run.outcome, run.batch
        self._runs += 1
        if isinstance(outcome, Exception):
            for waiting in batch:
                yield self._failed(loaded, waiting.request, waiting.arrived_s, outcome)
            return
        if outcome.inputs is None or outcome.lengths is not None:
            # Filled up to a common length: what is recorded is what was sent, and what was answered.
            for waiting, answer in zip(batch, run.answers(), strict=True):
                assert isinstance(answer, Answer)
                one = self._alone(loaded, waiting.request, waiting.arrived_s, answer)
                self._with_run(one, batch, outcome)
                yield one
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
        yield one

    def of_shared(
        self, loaded: Loaded, request: InferRequest, arrived_s: float, answer: Answer | Exception
    ) -> Recorded:
        """A request that was answered with what another had been, or had been kept."""
        if isinstance(answer, Exception):
            return self._failed(loaded, request, arrived_s, answer)
        return self._alone(loaded, request, arrived_s, answer)

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
        return None if unit_key is None or self._hash_key is None else self._hash_key(unit_key)


def _stage_of(loaded: Loaded) -> str:
    """For what a version is asked that no request names: the champion's stage, or the challenger's."""
    stages = loaded.stages
    if Stage.PRODUCTION in stages:
        return str(Stage.PRODUCTION)
    # A version that was in production until now answers what it still has; for the stage shadow nobody is answered.
    return next((stage for stage in stages if stage != Stage.SHADOW), "")
