"""Rows to rank layers and to climb the ladder on, none of which is judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from mlserve.compare.quality import drop_of, evaluate, metric_named
from mlserve.quantize.calibration import Calibration, spread
from mlserve.quantize.evaluating import Outputs, answer
from mlserve.quantize.holding_out import HeldOut, row_digests
from mlserve.rows.reading import RowBatch

MAX_ROWS = 64
RANKING_ROWS = 16
"""Of those, to rank layers on: each layer is a run of the model over them."""

MAX_SHARE = 0.2
"""Of the evaluation rows that are set aside, where no calibration data serves."""

MIN_ROWS = 4
BATCH_ROWS = 16


@dataclass(frozen=True, slots=True)
class Tuning:
    """A few rows, held in memory, and where they are from."""

    batches: tuple[RowBatch, ...]
    origin: str

    @property
    def first(self) -> tuple[RowBatch, ...]:
        """Batches of about ``RANKING_ROWS`` rows, one at least."""
        held = list(accumulate(batch.rows for batch in self.batches))
        return self.batches[: max(1, sum(rows <= RANKING_ROWS for rows in held))]

    @property
    def rows(self) -> int:
        return sum(batch.rows for batch in self.batches)

    def drop(self, metric: str, before: Sequence[Outputs], after: Sequence[Outputs]) -> float:
        """How much worse ``metric`` is of ``after`` than of ``before``, answers to these rows, a batch each."""
        one, other = iter(before), iter(after)
        both = answer(lambda _: next(one), lambda _: next(other), iter(self.batches))
        values = [evaluate(metric, outputs, both.before, both.labels) for outputs in (both.before, both.after)]
        return drop_of(metric_named(metric), *values)


def set_aside(evaluation: HeldOut, sample: Calibration | None, metric: str) -> tuple[Tuning | None, HeldOut]:
    """Rows to tune on, and the evaluation rows without them.

    Calibration rows serve, for they are not judged on anyway, unless the metric needs labels that they lack; else a
    share of the evaluation rows is taken out. None where these are too few, or come in calls of a fixed size.
    """
    if sample is not None:
        tuning = Tuning(tuple(spread(sample.rows, MAX_ROWS, BATCH_ROWS)), "calibration data")
        if metric_named(metric).needs != "labels" or all("label" in batch.roles for batch in tuning.batches):
            return tuning, evaluation
    total = evaluation.total_rows
    if total is None:
        total = sum(batch.rows for batch in evaluation.batches())
    wanted = min(MAX_ROWS, int(total * MAX_SHARE))
    if wanted < MIN_ROWS or evaluation.has_fixed_rows:
        return None, evaluation
    tuning = Tuning(tuple(spread(evaluation, wanted, BATCH_ROWS)), "evaluation data")
    taken = frozenset(digest for batch in tuning.batches for digest in row_digests(batch))
    return tuning, evaluation.without(taken)
