"""What a replay has found of one candidate so far: its comparison, its failures, its times. Kept over a pause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mlserve.compare.pairs import Array, Outputs, Pairs, State
from mlserve.replay.answering import Answered
from mlserve.rows.captured import CapturedBatch
from mlserve.stats.latencies import Latencies

SHOWN = 20
"""So many failures are listed; all are counted."""


class Learner(Protocol):
    """What compares: ``compare.ladder.comparison.Comparison``, or one rung."""

    def add(self, pairs: Pairs) -> None: ...

    def add_noise(self, pairs: Pairs) -> None: ...

    def state(self) -> State: ...

    def figures(self) -> dict[str, Any]: ...


Labels = Callable[[CapturedBatch], Any]
"""The truth of each row of requests, a masked array; None where nothing is known."""


@dataclass(slots=True)
class Findings:
    """Of one candidate. ``requests`` and ``rows`` are those compared; ``failed`` were replayed and got no answer.

    ``replayed`` and ``recorded`` are times of the same requests. ``weight`` is how many requests they stand for.
    """

    comparison: Learner
    requests: int = 0
    rows: int = 0
    failed: int = 0
    weight: float = 0.0
    failures: list[dict[str, str]] = field(default_factory=list)
    recorded: Latencies = field(default_factory=Latencies)
    replayed: Latencies = field(default_factory=Latencies)

    def add(
        self,
        batch: CapturedBatch,
        expected: Answered | None,
        actual: Answered,
        recorded_ns: Array,
        labels: Any = None,
        groups: Array | None = None,
    ) -> None:
        """Learn of ``batch``, which the candidate answered with ``actual``.

        ``expected`` is what the baseline answered, None for what was recorded; ``recorded_ns`` (requests,) how long
        each took then; ``labels`` (rows,) the truth; ``groups`` (rows,) which rows are ranked together.
        """
        errors = dict(actual.failed)
        if expected is not None:
            errors |= {at: f"the baseline: {error}" for at, error in expected.failed.items() if at not in errors}
        left = np.ones(batch.requests, bool)
        left[list(errors)] = False
        before = batch.outputs if expected is None else _kept(expected, batch, left)
        after = _kept(actual, batch, left)
        if left.any() and (problem := unlike(before, after)):
            errors |= {int(at): problem for at in np.flatnonzero(left)}
            left[:] = False
        self._note_failures(batch, errors)
        if not left.any():
            return
        names = [name for name in before if name in after]
        pairs = pairs_of(
            batch,
            left,
            {name: _rows_of(before[name], batch, left, is_kept=expected is not None) for name in names},
            {name: _rows_of(after[name], batch, left, is_kept=True) for name in names},
            labels,
            groups,
        )
        self.comparison.add(pairs)
        self.requests += int((batch.first_rows[left] == 0).sum())
        self.rows += pairs.rows
        self.weight += float(batch.weights[left].sum())
        self.recorded.add_many(recorded_ns[left] / 1e9)
        self.replayed.add_many(actual.took_s[left])

    def _note_failures(self, batch: CapturedBatch, errors: Mapping[int, str]) -> None:
        self.failed += len(errors)
        for at, error in sorted(errors.items())[: max(0, SHOWN - len(self.failures))]:
            self.failures.append({"request_id": batch.ids[at], "error": error})

    def state(self) -> State:
        """All of it, to be kept; see ``restored``."""
        return {
            "comparison": self.comparison.state(),
            "requests": self.requests,
            "rows": self.rows,
            "failed": self.failed,
            "weight": self.weight,
            "failures": [dict(one) for one in self.failures],
            "recorded": self.recorded.state(),
            "replayed": self.replayed.state(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], comparison: Callable[[State], Learner]) -> Findings:
        """The inverse of ``state``; ``comparison`` makes the comparison of its own part."""
        return cls(
            comparison(state["comparison"]),
            int(state["requests"]),
            int(state["rows"]),
            int(state["failed"]),
            float(state["weight"]),
            [dict(one) for one in state["failures"]],
            Latencies.from_state(state["recorded"]),
            Latencies.from_state(state["replayed"]),
        )


def pairs_of(
    batch: CapturedBatch,
    left: Array,
    expected: Outputs,
    actual: Outputs,
    labels: Any = None,
    groups: Array | None = None,
) -> Pairs:
    """The requests of ``batch`` at which ``left`` is True, with outputs that are of those alone."""
    inputs = {name: _rows_of(array, batch, left, is_kept=False) for name, array in batch.inputs.items()}
    rows_each = batch.rows_each if batch.has_rows else np.ones(batch.requests, np.int64)
    ids = batch.ids
    if not left.all():
        is_left = np.repeat(left, rows_each)
        labels, groups = (None if of_rows is None else of_rows[is_left] for of_rows in (labels, groups))
        ids = batch.ids.take(np.flatnonzero(left))
    return Pairs(
        ids,
        rows_each[left] if not left.all() else rows_each,
        expected,
        actual,
        inputs,
        labels=labels,
        groups=groups,
        first_rows=batch.first_rows[left] if batch.first_rows.any() else None,
        weights=batch.weights[left] if (batch.weights != 1.0).any() else None,
    )


def _kept(answered: Answered, batch: CapturedBatch, left: Array) -> dict[str, Array]:
    """Its outputs for the requests that are ``left``, of which it may have answered more."""
    outputs = answered.outputs
    answers = [at for at in range(batch.requests) if at not in answered.failed] if answered.failed else None
    if not batch.has_rows or len(answers if answers is not None else left) == int(left.sum()):
        return outputs
    places = np.arange(batch.requests) if answers is None else np.array(answers, np.int64)
    mask = np.repeat(left[places], batch.rows_each[places])
    return {name: array[mask] for name, array in outputs.items()}


def _rows_of(array: Array, batch: CapturedBatch, left: Array, *, is_kept: bool) -> Array:
    """Of a tensor the rows of the requests that are ``left``, where it does not have those alone already."""
    if not batch.has_rows or is_kept or left.all():
        return as_rows(array, batch)
    rows: Array = array[np.repeat(left, batch.rows_each)]
    return rows


def as_rows(array: Array, batch: CapturedBatch) -> Array:
    """A tensor of ``batch`` with rows on axis 0; one that is no rows is one."""
    return array if batch.has_rows else array[np.newaxis]


def unlike(before: Outputs, after: Outputs) -> str | None:
    """What keeps answers of whole requests from being compared; None where nothing does."""
    shared = [name for name in before if name in after]
    if not shared:
        return "it has no output that the baseline has"
    for name in shared:
        one, other = before[name], after[name]
        if one.shape[1:] != other.shape[1:] or one.ndim != other.ndim:
            return f"output '{name}' is {list(other.shape)}, and the baseline's {list(one.shape)}"
    return None


@dataclass(slots=True)
class Coverage:
    """What became of the capture: requests that were replayed, and those that were left out, by the reason why.

    ``runs`` were replayed as they were recorded, ``whole_runs`` of them with all their rows.
    """

    requests: int = 0
    runs: int = 0
    whole_runs: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def state(self) -> State:
        return {
            "requests": self.requests,
            "runs": self.runs,
            "whole_runs": self.whole_runs,
            "left_out": dict(self.left_out),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Coverage:
        counts = Counter({str(reason): int(count) for reason, count in state["left_out"].items()})
        return cls(int(state["requests"]), int(state["runs"]), int(state["whole_runs"]), counts)
