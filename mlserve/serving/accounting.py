"""What each version has done: counted once a run, told as statistics and metrics.

    run ─► Account.note_run: its times are put aside ─► counters and histograms, a thousand requests at a time,
                                                        or when somebody asks

Nothing is done here for a request alone, and next to nothing for a run: a lone request is a run. An account outlives a
swap, so counters never go back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

import numpy as np

from mlserve.core.histograms import ROWS, SECONDS, Histogram
from mlserve.serving.batching import Waiting
from mlserve.serving.seam import RunTiming
from mlserve.serving.tallies import BatchTally, ModelStatistics, Tally

_NS = 1e9
_FOLD = 1024
"""Requests whose times are put aside before they are counted."""

_NO_RUN = -1
"""In place of rows: these requests got the answer of a run that is counted already, or of none."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True)
class Account:
    """One version's counters. Changed on the loop's thread only."""

    name: str
    version: int
    rows: int = 0
    runs: int = 0
    last_s: float = 0.0
    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    compute_input: Tally = field(default_factory=Tally)
    compute_infer: Tally = field(default_factory=Tally)
    compute_output: Tally = field(default_factory=Tally)
    cache_hit: Tally = field(default_factory=Tally)
    cache_miss: Tally = field(default_factory=Tally)
    batches: dict[int, BatchTally] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(
        default_factory=lambda: {
            **{name: Histogram.over(SECONDS) for name in ("request", "queue", "compute", "encode")},
            **{name: Histogram.over(ROWS) for name in ("rows", "requests")},
        }
    )
    _arrivals_s: list[float] = field(default_factory=list)
    _runs: list[tuple[int, int, float, float, float, float]] = field(default_factory=list)

    def note_run(self, batch: Sequence[Waiting], timing: RunTiming, delivered_s: float) -> None:
        """A run whose answers were handed over at ``delivered_s``, on the clock of ``timing``."""
        self._arrivals_s += [waiting.arrived_s for waiting in batch]
        self._runs.append((len(batch), timing.rows, timing.taken_s, timing.gathered_s, timing.ran_s, delivered_s))
        if len(self._arrivals_s) >= _FOLD:
            self._fold()

    def note_failure(self, waiting: Waiting, failed_s: float) -> None:
        """A request that was admitted and got an error, at ``failed_s`` on the clock of its arrival."""
        _add(self.fail, 1, failed_s - waiting.arrived_s)

    def note_cache_hit(self, lookup_ns: int) -> None:
        """A request whose answer was kept, found in ``lookup_ns``."""
        _add(self.cache_hit, 1, lookup_ns / _NS)

    def note_cache_miss(self, lookup_ns: int) -> None:
        """A request whose answer was not kept, as ``lookup_ns`` of looking told."""
        _add(self.cache_miss, 1, lookup_ns / _NS)

    def note_shared(self, arrivals_s: Sequence[float], ended_s: float, *, is_failure: bool) -> None:
        """Requests that got the answer, or the error, of another's run or of the cache at ``ended_s``."""
        if is_failure:
            _add(self.fail, len(arrivals_s), sum(ended_s - arrived_s for arrived_s in arrivals_s))
            return
        self._arrivals_s += arrivals_s
        self._runs.append((len(arrivals_s), _NO_RUN, ended_s, ended_s, ended_s, ended_s))
        if len(self._arrivals_s) >= _FOLD:
            self._fold()

    def note_rejection(self, reason: str) -> None:
        """A request that was turned away. ``reason`` is one word of a small set: "queue_full", "slo" (neither was
        admitted), or "expired" (it waited too long)."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def statistics(self, waiting_rows: int = 0) -> ModelStatistics:
        """A copy for whoever asks."""
        self._fold()
        return ModelStatistics(
            name=self.name,
            version=str(self.version),
            last_inference_ms=int(1e3 * self.last_s),
            inference_count=self.rows,
            execution_count=self.runs,
            success=_copy(self.success),
            fail=_copy(self.fail),
            queue=_copy(self.queue),
            compute_input=_copy(self.compute_input),
            compute_infer=_copy(self.compute_infer),
            compute_output=_copy(self.compute_output),
            cache_hit=_copy(self.cache_hit),
            cache_miss=_copy(self.cache_miss),
            batches=[
                BatchTally(rows, _copy(size.compute_input), _copy(size.compute_infer), _copy(size.compute_output))
                for rows, size in sorted(self.batches.items())
            ],
            rejected=dict(self.rejected),
            histograms={name: histogram.copy() for name, histogram in self.histograms.items()},
            waiting_rows=waiting_rows,
        )

    def _fold(self) -> None:
        """Bring what was put aside into counters and histograms."""
        if not self._runs:
            return
        aside = np.array(self._runs)
        requests, rows, taken_s, _, _, delivered_s = aside.T
        arrivals_s, counts = np.array(self._arrivals_s), requests.astype(np.intp)
        self._runs.clear()
        self._arrivals_s.clear()
        waited_s = np.repeat(taken_s, counts) - arrivals_s
        took_s = np.repeat(delivered_s, counts) - arrivals_s
        self.last_s = time() - (monotonic() - float(delivered_s[-1]))
        _add(self.success, len(arrivals_s), took_s.sum())
        _add(self.queue, len(arrivals_s), waited_s.sum())
        self.histograms["request"].add_many(took_s)
        self.histograms["queue"].add_many(waited_s)
        self._fold_runs(aside[rows != _NO_RUN])

    def _fold_runs(self, runs: Floats) -> None:
        requests, rows, taken_s, gathered_s, ran_s, delivered_s = runs.T
        phases_s = (gathered_s - taken_s, ran_s - gathered_s, delivered_s - ran_s)
        whole = int(requests.sum())
        self.rows += int(rows.sum())
        self.runs += len(rows)
        for tally, phase_s in zip((self.compute_input, self.compute_infer, self.compute_output), phases_s, strict=True):
            _add(tally, whole, requests @ phase_s)
        self._fold_sizes(rows, phases_s)
        values = (phases_s[1], phases_s[2], rows, requests)
        for name, more in zip(("compute", "encode", "rows", "requests"), values, strict=True):
            self.histograms[name].add_many(more)

    def _fold_sizes(self, rows: Floats, phases_s: Sequence[Floats]) -> None:
        sizes, places = np.unique(rows.astype(np.int64), return_inverse=True)
        counts = np.bincount(places)
        sums_s = [np.bincount(places, weights=phase_s) for phase_s in phases_s]
        for at, rows_of_run in enumerate(sizes.tolist()):
            size = self.batches.get(rows_of_run)
            if size is None:
                size = self.batches[rows_of_run] = BatchTally(rows_of_run, Tally(), Tally(), Tally())
            for tally, sum_s in zip((size.compute_input, size.compute_infer, size.compute_output), sums_s, strict=True):
                _add(tally, int(counts[at]), sum_s[at])


class Accounts:
    """The accounts of all versions that were ever loaded, by name and version."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, int], Account] = {}

    def of(self, name: str, version: int) -> Account:
        """The account of a version, opened when first asked for."""
        account = self._accounts.get((name, version))
        if account is None:
            account = self._accounts[name, version] = Account(name, version)
        return account


def _add(tally: Tally, count: int, seconds: float) -> None:
    tally.count += count
    tally.ns += round(_NS * float(seconds))


def _copy(tally: Tally) -> Tally:
    return Tally(tally.count, tally.ns)
