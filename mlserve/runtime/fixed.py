"""``FixedBatches``: runs of one model at the sizes of the lattice only, each prepared when the version is loaded.

    run(rows) ─► the smallest size that takes them ─► a free slot of it ─► fill ─► launch ─► read ─► the rows that count

Where shapes do not follow from the rows alone there are no slots: rows are filled up, and run as ever. A session that
captures graphs is launched from one thread only, for ONNX Runtime keeps graphs by thread and captures for one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from queue import SimpleQueue
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput, Unavailable
from mlserve.runtime.capturing import why_not_bound
from mlserve.runtime.lattice import point_of, to_point
from mlserve.runtime.model import Arrays, OnnxModel, as_ours
from mlserve.runtime.slots import Slot

Array = np.ndarray[Any, Any]

SLOTS_EACH = 2
"""Slots of each size: while one runs, the rows of the next batch are copied into the other."""

CAPTURE_RUNS = 4
"""Launches of a slot before it is in use: ONNX Runtime captures after two or three of them."""


class FixedBatches:
    """The lattice of one version. ``run`` may be called from several threads.

    ``device`` is where buffers lie. ``captures`` says that the session captures graphs; ``launcher`` is then the one
    thread that launches them. ``why_not_bound`` is empty where there are slots.
    """

    def __init__(
        self,
        model: OnnxModel,
        lattice: Sequence[int],
        *,
        device: str = "cpu",
        captures: bool = False,
        launcher: Executor | None = None,
    ) -> None:
        self.lattice = tuple(lattice)
        self.why_not_bound = why_not_bound(model.signature) or ""
        self._model = model
        self._launcher = launcher
        self._slots: dict[int, list[Slot]] = {}
        self._free: dict[int, SimpleQueue[Slot]] = {}
        if captures and launcher is None:
            raise AssertionError("graphs are captured and replayed by one thread, which must be given")
        if self.why_not_bound:
            return
        with as_ours():
            for rows in self.lattice:
                ids = [1 + sum(map(len, self._slots.values())) + number for number in range(SLOTS_EACH)]
                slots = [Slot(model, rows, device=device, graph=one if captures else None) for one in ids]
                self._slots[rows] = slots
                free = self._free[rows] = SimpleQueue()
                for slot in slots:
                    free.put(slot)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot, by size."""
        return tuple(slot for slots in self._slots.values() for slot in slots)

    def warm(self, rows: Callable[[int], Mapping[str, Array]], size: int) -> None:
        """Run ``size`` rows in each slot of that size, as often as a capture needs. Raises as ``run``."""
        for slot in self._slots.get(size, ()):
            with as_ours():
                slot.fill(rows(size), size)
                for _ in range(CAPTURE_RUNS if slot.graph is not None else 1):
                    self._launch(slot)
        if self.why_not_bound:
            self.run(rows(size))

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> Arrays:
        """As ``OnnxModel.run``, of rows that are independent and no more than the lattice's last size."""
        rows = _rows_of(inputs)
        point = point_of(rows, self.lattice)
        if point is None or not rows:
            return self._model.run(inputs, outputs)
        if self.why_not_bound:
            return self._run_filled_up(inputs, rows, point, outputs)
        free = self._free.get(point)
        if free is None:
            raise Unavailable("the model has been unloaded")
        slot = free.get()
        try:
            with as_ours():
                slot.fill(inputs, rows)
                self._launch(slot)
                return slot.read(rows, outputs)
        finally:
            free.put(slot)

    def close(self) -> None:
        """Let buffers and bindings go; a run that is under way finishes first."""
        self._free = {}
        self._slots = {}
        if self._launcher is not None:
            self._launcher.shutdown(wait=False)

    def _launch(self, slot: Slot) -> None:
        if self._launcher is None:
            slot.launch()
        else:
            self._launcher.submit(slot.launch).result()

    def _run_filled_up(
        self, inputs: Mapping[str, Array], rows: int, point: int, outputs: Sequence[str] | None
    ) -> Arrays:
        answers = self._model.run(to_point(inputs, rows, point), outputs)
        if any(array.shape[:1] != (point,) for array in answers.values()):
            # Not row by row after all: what such a model answers, it answers to the rows that there are.
            return self._model.run(inputs, outputs)
        return {name: array[:rows] for name, array in answers.items()}


def _rows_of(inputs: Mapping[str, Array]) -> int:
    counts = {len(array) if array.ndim else 0 for array in inputs.values()}
    if len(counts) != 1:
        raise InvalidInput("the inputs differ in their number of rows")
    return counts.pop()
