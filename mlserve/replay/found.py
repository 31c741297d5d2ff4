"""Everything a replay has found so far, of all candidates at once, and how far it has come: what a pause must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from mlserve.compare.pairs import State
from mlserve.replay.answering import Answered, Version, answer
from mlserve.replay.findings import Coverage, Findings, Labels, Learner, as_rows, pairs_of, unlike
from mlserve.replay.grouping import Groups
from mlserve.replay.pacing import Lag
from mlserve.replay.runs import is_whole
from mlserve.rows.captured import CapturedBatch

NOISE_REQUESTS, NOISE_PART = 128, 32
NOISE_FIRST, NOISE_EVERY = 8, 16
"""Of the first batches, and then of one in so many, so many requests, or one in so many, are answered once more in
other company."""


@dataclass(slots=True)
class Found:
    """``place`` is where reading goes on, ``units`` how many were taken of the merged order where there is one, and
    ``taken`` how many requests, each piece of a large one by itself.

    ``seconds`` is the time that replaying took, pauses not counted.
    """

    candidates: list[Findings]
    coverage: Coverage = field(default_factory=Coverage)
    lag: Lag = field(default_factory=Lag)
    place: tuple[int, int] = (0, 0)
    units: int = 0
    taken: int = 0
    batches: int = 0
    seconds: float = 0.0
    started_at: str = ""

    def add(
        self,
        batch: CapturedBatch,
        answers: Sequence[Answered],
        expected: Answered | None,
        *,
        recorded_runs: list[int] | None,
        recorded_ns: np.ndarray[Any, Any],
        labels: Labels | None = None,
        groups: Groups | None = None,
    ) -> None:
        """Take ``batch`` with the answers of all candidates; ``expected`` is the baseline's, None where recorded.

        ``recorded_runs`` are the edges of its runs where they were replayed as they had been.
        """
        self.batches += 1
        self.coverage.left_out.update(batch.left_out)
        if batch.place is not None:
            self.place = batch.place
        if not batch.requests:
            return
        self.taken += batch.requests
        self.coverage.requests += int((batch.first_rows == 0).sum())
        if recorded_runs is not None:
            self.coverage.runs += len(recorded_runs) - 1
            self.coverage.whole_runs += is_whole(batch, recorded_runs)
        truth = labels(batch) if labels is not None else None
        ranked = groups(batch) if groups is not None else None
        for findings, actual in zip(self.candidates, answers, strict=True):
            findings.add(batch, expected, actual, recorded_ns, truth, ranked)

    def add_noise(self, sample: CapturedBatch, expected: Answered | None, again: Answered) -> None:
        """Take what the baseline answered to ``sample`` again; ``expected`` None is what was recorded."""
        before = sample.outputs if expected is None else expected.outputs
        if again.failed or (expected is not None and expected.failed) or unlike(before, again.outputs):
            return
        names = [name for name in before if name in again.outputs]
        everyone = np.ones(sample.requests, bool)
        sides = [{name: as_rows(side[name], sample) for name in names} for side in (before, again.outputs)]
        pairs = pairs_of(sample, everyone, sides[0], sides[1])
        for findings in self.candidates:
            findings.comparison.add_noise(pairs)

    def state(self) -> State:
        return {
            "candidates": [findings.state() for findings in self.candidates],
            "coverage": self.coverage.state(),
            "lag": self.lag.state(),
            "place": list(self.place),
            "units": self.units,
            "taken": self.taken,
            "batches": self.batches,
            "seconds": self.seconds,
            "started_at": self.started_at,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], comparison: Callable[[State], Learner]) -> Found:
        """The inverse of ``state``."""
        return cls(
            [Findings.restored(one, comparison) for one in state["candidates"]],
            Coverage.restored(state["coverage"]),
            Lag.restored(state["lag"]),
            (int(state["place"][0]), int(state["place"][1])),
            int(state["units"]),
            int(state["taken"]),
            int(state["batches"]),
            float(state["seconds"]),
            str(state["started_at"]),
        )


def noise_sample(batch: CapturedBatch, number: int) -> CapturedBatch | None:
    """The requests of batch ``number`` that are answered once more; None for most batches."""
    if not batch.requests or (number >= NOISE_FIRST and number % NOISE_EVERY):
        return None
    return batch.slice(0, min(batch.requests, max(NOISE_REQUESTS, batch.requests // NOISE_PART)))


def other_edges(sample: CapturedBatch, edges: list[int], max_rows: int | None) -> list[int]:
    """Runs of ``sample`` that are not those at ``edges``: each request alone, or where they were, some together."""
    alone = list(range(sample.requests + 1))
    if max_rows is None or edges[: sample.requests + 1] != alone:
        return alone
    return [*range(0, sample.requests, max(2, min(max_rows, 7))), sample.requests]


def again(version: Version, sample: CapturedBatch, edges: list[int]) -> Answered:
    """The answers of ``version`` to ``sample`` in other runs than those at ``edges``."""
    return answer(version, sample, other_edges(sample, edges, version.max_rows))


def first_of(answered: Answered, batch: CapturedBatch, requests: int) -> Answered:
    """Of the answers to ``batch`` those to its first ``requests``."""
    from mlserve.replay.joining import parted

    if requests == batch.requests:
        return answered
    return parted(answered, batch, 0, requests)


def spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring ranges of these sizes.

    >>> spans([2, 3])
    [(0, 2), (2, 5)]
    """
    return list(pairwise([0, *np.cumsum(sizes, dtype=np.int64).tolist()]))
