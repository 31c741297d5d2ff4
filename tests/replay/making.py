"""Replays to test with: a learner that counts, captures of a model's own answers, versions, a wire in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mlserve.compare.pairs import Array, Pairs
from mlserve.replay.answering import Answered, Version
from mlserve.replay.findings import Findings
from mlserve.replay.found import Found
from mlserve.replay.pacing import Done
from mlserve.replay.schedule import Unit
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.threads import ThreadPlan
from mlserve.traffic.recorded import Recorded, Source
from tests.traffic.making import EPOCH_S, captured


class Counting:
    """A learner that counts rows and those that are bit-equal, and keeps the sum of what differs."""

    def __init__(self) -> None:
        self.rows = self.identical = 0
        self.distance = 0.0
        self.labelled = self.again = 0
        self.ids: list[str] = []

    def add(self, pairs: Pairs) -> None:
        same = np.ones(pairs.rows, bool)
        for name, expected in pairs.expected.items():
            actual = np.asarray(pairs.actual[name])
            assert len(actual) == len(expected) == pairs.rows
            differs = (expected != actual).reshape(pairs.rows, -1)
            same &= ~differs.any(axis=1)
            if expected.dtype.kind == "f":
                self.distance += float(np.abs(expected.astype(np.float64) - actual).sum())
        assert all(len(array) == pairs.rows for array in pairs.inputs.values())
        self.rows += pairs.rows
        self.identical += int(same.sum())
        self.ids += list(pairs.request_ids)
        if pairs.labels is not None:
            self.labelled += int((~np.ma.getmaskarray(np.ma.asarray(pairs.labels))).sum())

    def add_noise(self, pairs: Pairs) -> None:
        self.again += pairs.rows

    def state(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Counting:
        made = cls()
        vars(made).update(state)
        made.ids = list(made.ids)
        return made

    def figures(self) -> dict[str, Any]:
        return {"identical": self.identical, "agreement": None, "metrics": {}}


def found(candidates: int = 1) -> Found:
    return Found([Findings(Counting()) for _ in range(candidates)])


def counted(found: Found, which: int = 0) -> Counting:
    learner = found.candidates[which].comparison
    assert isinstance(learner, Counting)
    return learner


def version(model: OnnxModel, ref: str = "m:1", max_rows: int | None = 8) -> Version:
    return Version(ref, "sha256:1", model.signature, model.run, max_rows)


@contextmanager
def loaded(proto: onnx.ModelProto) -> Iterator[OnnxModel]:
    model = load_model(proto.SerializeToString(), device="cpu", threads=ThreadPlan(1, 1))
    try:
        yield model
    finally:
        model.close()


def answered_by(
    model: OnnxModel,
    folder: Path,
    runs: list[list[int]],
    *,
    gap_s: float = 0.01,
    seed: int = 0,
    given: Mapping[str, Array] | None = None,
) -> Path:
    """A capture of ``runs``, the rows of each request of each run, as ``model`` answers them; a run each ``gap_s``.

    ``given`` are the inputs of all rows, where they are not to be drawn.
    """
    rng = np.random.default_rng(seed)
    source = Source("m", 1, "sha256:1", model.signature)
    parts = []
    before = 0
    for number, rows in enumerate(runs):
        total = sum(rows)
        if given is not None:
            inputs = {name: array[before : before + total] for name, array in given.items()}
        else:
            inputs = {
                spec.name: rng.normal(size=(total, *(dim for dim in spec.dims[1:] if isinstance(dim, int)))).astype(
                    spec.dtype.numpy
                )
                for spec in model.signature.inputs
            }
        before += total
        at_s = 10.0 + number * gap_s
        parts.append(
            Recorded(
                source=source,
                ids=[b"r%d-%d" % (number, at) for at in range(len(rows))],
                arrived_s=[at_s + at / 1e5 for at in range(len(rows))],
                status=200,
                inputs=inputs,
                outputs=model.run(inputs),
                is_sliced=True,
                epoch_s=EPOCH_S,
                stage="production",
                rows=list(rows),
                taken_s=at_s + 0.001,
                compute_s=0.002,
                batch_id=number + 1,
                batch_rows=total,
            )
        )
    return captured(folder, *parts)


class VirtualWire:
    """Answers each unit ``service_s`` after the one before it, one at a time, on a clock that nobody waits for."""

    candidates = 1

    def __init__(self, service_s: float, room: int = 1000) -> None:
        self.now_s = 100.0
        self.sent_s: list[float] = []
        self._service_s = service_s
        self._room = room
        self._free_s = 0.0
        self._under_way: list[tuple[float, int, Unit]] = []

    def clock(self) -> float:
        return self.now_s

    def has_room(self) -> bool:
        return len(self._under_way) < self._room

    def send(self, number: int, unit: Unit) -> None:
        self.sent_s.append(self.now_s)
        self._free_s = max(self._free_s, self.now_s) + self._service_s
        heapq.heappush(self._under_way, (self._free_s, number, unit))

    def take(self, timeout_s: float) -> list[Done]:
        """Time passes here alone: to the next answer, or by the time-out."""
        end_s = self.now_s + timeout_s
        next_s = self._under_way[0][0] if self._under_way else end_s
        self.now_s = max(self.now_s, min(end_s, next_s))
        done = []
        while self._under_way and self._under_way[0][0] <= self.now_s:
            at_s, number, unit = heapq.heappop(self._under_way)
            done.append(Done(number, 0, Answered(dict(unit.batch.outputs), np.zeros(unit.batch.requests)), at_s))
        return done
