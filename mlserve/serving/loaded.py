"""``Loaded``: one version in memory with its queue, and how a batch of its requests is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from mlserve.errors import InvalidInput
from mlserve.runtime.certificate import Certificate
from mlserve.runtime.costs import Costs
from mlserve.runtime.filling import Filling, decide_filling
from mlserve.runtime.fixed import FixedBatches
from mlserve.runtime.lone import Lone
from mlserve.runtime.model import OnnxModel
from mlserve.runtime.precision import precision_of
from mlserve.runtime.runner import Runner
from mlserve.runtime.trimming import give_back_soon
from mlserve.serving.admission import Pacing
from mlserve.serving.batching import RowQueue, Waiting, pieces
from mlserve.serving.buckets import LengthBuckets
from mlserve.serving.gathering import Intake
from mlserve.serving.isolating import run_isolated
from mlserve.serving.lanes import Lanes
from mlserve.serving.seam import Answer, BatchOutputs, InferRequest, ModelState, ModelView, RunTiming
from mlserve.serving.sizing import Sized


class Run(msgspec.Struct, gc=False):
    """What became of some requests that were run together: outputs and their timing, or one request's own error."""

    batch: Sequence[Waiting]
    outcome: BatchOutputs | Exception

    def answers(self) -> list[Answer | Exception]:
        """One for each request, in order."""
        outcome = self.outcome
        if isinstance(outcome, Exception):
            return [outcome]
        if not outcome.is_sliced:
            return [Answer(outcome, 0, None, self.batch[0].request.outputs or None)]
        answers: list[Answer | Exception] = []
        start = 0
        if outcome.lengths is not None:
            for waiting, length in zip(self.batch, outcome.lengths, strict=True):
                stop = start + waiting.rows
                answers.append(Answer(outcome, start, stop, waiting.request.outputs or None, length))
                start = stop
            return answers
        for waiting in self.batch:
            stop = start + waiting.rows
            answers.append(Answer(outcome, start, stop, waiting.request.outputs or None))
            start = stop
        return answers


LONG_RUN_S = 2e-3
INLINE_ROWS = 16
"""Rows of a lone request that the event loop takes where the time a row takes is not known."""

TOLERATED_RUNS = 8
"""A version leaves the event loop for good when, over a while, more than one inline run in this many is a long one."""


class Loaded:
    """A version that can answer. Its attributes change on the loop's thread only; ``execute`` may run in any thread.

    ``warmed`` are the numbers of rows that were run before it could be asked.

    ``computes_all``: outputs that no request asked for are computed all the same, for whoever looks on.
    ``running`` counts batches in lanes; at most ``lanes`` at a time, where that is not None. ``max_delay_s`` is how
    long a batch may wait for more rows, None for as long as the server says. ``pacing`` is kept by an engine with an
    objective.

    A retired version takes no new requests by name, answers those it has, then calls ``on_drained`` and closes its
    model.
    """

    def __init__(
        self,
        name: str,
        version: int,
        model: Runner,
        certificate: Certificate,
        costs: Costs,
        *,
        digest: str | None = None,
        max_rows: int | None = None,
        filling: Filling | None = None,
        lone: Lone | None = None,
        sized: Sized | None = None,
        lanes: int | None = None,
        max_delay_s: float | None = None,
        tuned: str = "",
        intake: Intake | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.digest = digest
        self.certificate = certificate
        self.stages: tuple[str, ...] = ()
        padding = certificate.padding if certificate.batchable else None
        filling = filling or decide_filling("on", padding, None)
        is_filled = filling.is_used and padding is not None and padding.is_inert
        self._buckets = LengthBuckets(model.signature, padding) if is_filled and padding is not None else None
        self._padding = filling.shown
        sized = sized or Sized()
        self.warmed = sized.warmed
        self._fixed = sized.fixed
        self._graphs = sized.graphs
        self._tuned = tuned
        self.lanes = lanes
        self.max_delay_s = max_delay_s
        self._lone_shown = "" if lone is None else ("exact" if lone.model is not None else f"refused: {lone.reason}")
        self.intake = intake or Intake(model.signature, is_batchable=certificate.batchable, buckets=self._buckets)
        self.queue = RowQueue()
        self.max_rows = (max_rows or costs.useful_rows()) if certificate.batchable else 1
        self.inline_rows = self.max_rows if certificate.batchable else INLINE_ROWS
        self.costs = costs
        self.is_inline = costs.is_inline
        self.running = 0
        self.pacing: Pacing | None = None
        self.computes_all = False
        self.is_retired = False
        self.on_drained: Callable[[Loaded], None] | None = None
        self.view = self._view(model, ())
        self._model = model
        self._lone = None if lone is None else lone.model
        self._long_runs = 0
        self._inputs = [spec.name for spec in model.signature.inputs]
        self.own_lane: Lanes | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether equal inputs get equal answers: nothing in the model draws random numbers."""
        return self._model.is_repeatable

    @property
    def is_elsewhere(self) -> bool:
        """Whether another process computes it: it has one lane of its own, and takes none of those that are shared."""
        return self._model.is_elsewhere

    @property
    def is_up(self) -> bool:
        """Whether it can answer now; False while its process is started again."""
        return self._model.is_up

    @property
    def precision(self) -> str:
        """What it computes in, as ``quantize`` names it; where that cannot be seen, FP32."""
        return precision_of(self._model) if isinstance(self._model, OnnxModel) else "fp32"

    def refresh_view(self, versions: tuple[str, ...], stages: tuple[str, ...]) -> None:
        """Say which versions of the model can be asked for, and which stages this one holds."""
        self.stages = stages
        self.view = self._view(self._model, versions)

    def retire(self) -> None:
        """No longer reachable by name: close once the last request is answered, now if there is none."""
        self.is_retired = True
        self.view = msgspec.structs.replace(self.view, state=ModelState.UNLOADING)
        self.finish_if_drained()

    def finish_if_drained(self) -> None:
        """Close a retired version that has nothing left to answer."""
        if self.is_retired and not self.queue and not self.running:
            self._model.close()
            if self.own_lane is not None:
                self.own_lane.close(timeout_s=0.0)
            for other in (self._lone, self._fixed):
                if other is not None:
                    other.close()
            give_back_soon()
            on_drained, self.on_drained = self.on_drained, None
            if on_drained is not None:
                on_drained(self)

    def note_inline_run(self, cpu_s: float) -> None:
        """Re-decide from the processor time of a run whether the event loop is still the place for this version."""
        if cpu_s > LONG_RUN_S:
            self._long_runs += TOLERATED_RUNS
            self.is_inline = self._long_runs < TOLERATED_RUNS**2
        elif self._long_runs:
            self._long_runs -= 1

    def execute_alone(self, batch: Sequence[Waiting]) -> list[Run]:
        """``execute`` with all cores, where there is a session for it: for what has the machine to itself."""
        lone = self._lone
        if lone is None or len(batch) > 1:
            return self.execute(batch)
        try:
            return [Run(batch, self._run(batch, lone))]
        except Exception as error:
            return [Run(batch, error)]

    def execute(self, batch: Sequence[Waiting]) -> list[Run]:
        """Run ``batch``: one run of all, or several where some fail; see ``isolating.run_isolated``."""
        return [Run(part, outcome) for part, outcome in run_isolated(batch, self._run, self._check)]

    def _check(self, request: InferRequest) -> None:
        self.intake.gather([request])

    def _run(self, batch: Sequence[Waiting], session: Runner | None = None) -> BatchOutputs:
        model = session or self._model
        taken_s = monotonic()
        inputs = self.intake.gather([waiting.request for waiting in batch])
        names = None if self.computes_all else _names_asked_for(batch)
        gathered_s = monotonic()
        if batch[0].key is None:
            rows = batch[0].rows
            outputs = BatchOutputs(self.view, model.run(inputs, names), rows, is_sliced=False)
        else:
            rows = sum([waiting.rows for waiting in batch])
            arrays = self._run_rows(session or self._fixed or model, inputs, rows, names)
            is_sliced = all([array.shape[:1] == (rows,) for array in arrays.values()])
            if not is_sliced and len(batch) > 1:
                raise InvalidInput("the model gave another number of rows than it was given")
            outputs = BatchOutputs(self.view, arrays, rows, is_sliced=is_sliced)
            if self._buckets is not None and self._buckets.outputs:
                outputs.lengths = self.intake.lengths([waiting.request for waiting in batch])
                outputs.own_axes = self._buckets.outputs
        # Of a text's wish nothing is recorded: it is no input of the signature.
        outputs.inputs = {name: inputs[name] for name in self._inputs} if model.is_elsewhere else inputs
        outputs.timing = RunTiming(taken_s, gathered_s, monotonic(), rows, len(batch))
        return outputs

    def _run_rows(
        self, model: Runner | FixedBatches, inputs: dict[str, Any], rows: int, names: list[str] | None
    ) -> dict[str, np.ndarray[Any, Any]]:
        if rows <= self.max_rows:
            return model.run(inputs, names)
        ranges = pieces(rows, self.max_rows)
        runs = [model.run({name: array[start:stop] for name, array in inputs.items()}, names) for start, stop in ranges]
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}

    def _view(self, model: Runner, versions: tuple[str, ...]) -> ModelView:
        return ModelView(
            name=self.name,
            version=str(self.version),
            versions=versions,
            signature=model.signature,
            state=ModelState.READY,
            platform=model.platform,
            stages=self.stages,
            digest=self.digest,
            is_batchable=self.certificate.batchable,
            exactness=self.certificate.exactness,
            padding=self._padding,
            lone_session=self._lone_shown,
            cuda_graphs=self._graphs,
            tuned=self._tuned,
            providers=model.providers,
            max_rows=self.max_rows,
        )


def _names_asked_for(batch: Sequence[Waiting]) -> list[str] | None:
    """The outputs that any request of ``batch`` asks for; None where one asks for all."""
    names: dict[str, None] = {}
    for waiting in batch:
        if not waiting.request.outputs:
            return None
        names.update(dict.fromkeys(waiting.request.outputs))
    return list(names)
