"""What each version has done: counted once a run, told as statistics and metrics.

    run ─► Account.note_run ─┬─► counters and times, summed at once
                             └─► each request's two times, put aside and folded into histograms many at a time

Nothing here is done for a request alone but one subtraction; an account outlives a swap, so counters never go back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time

import numpy as np

from mlserve.core.histograms import ROWS, SECONDS, Histogram
from mlserve.serving.batching import Waiting
from mlserve.serving.seam import BatchTally, ModelStatistics, RunTiming, Tally

_NS = 1e9
_FOLD = 4096
"""Requests whose times are put aside before they are folded into histograms."""


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
            "rows": Histogram.over(ROWS),
        }
    )
    _arrivals_s: list[float] = field(default_factory=list)
    _runs: list[tuple[int, float, float]] = field(default_factory=list)

    def note_run(self, batch: Sequence[Waiting], timing: RunTiming, delivered_s: float) -> None:
        """A run whose answers were handed over at ``delivered_s``, on the clock of ``timing``."""
        requests = len(batch)
        arrivals_s = [waiting.arrived_s for waiting in batch]
        arrived_s = sum(arrivals_s)
        gather_ns = int(_NS * (timing.gathered_s - timing.taken_s))
        run_ns = int(_NS * (timing.ran_s - timing.gathered_s))
        encode_ns = int(_NS * (delivered_s - timing.ran_s))
        self.rows += timing.rows
        self.runs += 1
        self.last_s = time()
        _add(self.success, requests, int(_NS * (requests * delivered_s - arrived_s)))
        _add(self.queue, requests, int(_NS * (requests * timing.taken_s - arrived_s)))
        _add(self.compute_input, requests, requests * gather_ns)
        _add(self.compute_infer, requests, requests * run_ns)
        _add(self.compute_output, requests, requests * encode_ns)
        size = self.batches.get(timing.rows)
        if size is None:
            size = self.batches[timing.rows] = BatchTally(timing.rows, Tally(), Tally(), Tally())
        _add(size.compute_input, 1, gather_ns)
        _add(size.compute_infer, 1, run_ns)
        _add(size.compute_output, 1, encode_ns)
        self._arrivals_s += arrivals_s
        self._runs.append((requests, timing.taken_s, delivered_s))
        histograms = self.histograms
        histograms["compute"].add(timing.ran_s - timing.gathered_s)
        histograms["encode"].add(delivered_s - timing.ran_s)
        histograms["rows"].add(timing.rows)
        if len(self._arrivals_s) >= _FOLD:
            self._fold()

    def note_failure(self, waiting: Waiting, failed_s: float) -> None:
        """A request that was admitted and got an error, at ``failed_s`` on the clock of its arrival."""
        _add(self.fail, 1, int(_NS * (failed_s - waiting.arrived_s)))

    def note_cache_hit(self, lookup_ns: int) -> None:
        """A request whose answer was kept, found in ``lookup_ns``."""
        _add(self.cache_hit, 1, lookup_ns)

    def note_cache_miss(self, lookup_ns: int) -> None:
        """A request whose answer was not kept, as ``lookup_ns`` of looking told."""
        _add(self.cache_miss, 1, lookup_ns)

    def note_shared(self, arrivals_s: Sequence[float], ended_s: float, *, is_failure: bool) -> None:
        """Requests that got the answer, or the error, of another's run or of the cache at ``ended_s``."""
        requests = len(arrivals_s)
        ns = int(_NS * (requests * ended_s - sum(arrivals_s)))
        if is_failure:
            _add(self.fail, requests, ns)
            return
        self.last_s = time()
        _add(self.success, requests, ns)
        _add(self.queue, requests, ns)
        self._arrivals_s += arrivals_s
        self._runs.append((requests, ended_s, ended_s))
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
        """Bring what was put aside into the histograms of single requests."""
        if not self._runs:
            return
        counts, taken_s, delivered_s = zip(*self._runs, strict=True)
        arrivals_s = np.array(self._arrivals_s)
        self.histograms["queue"].add_many(np.repeat(taken_s, counts) - arrivals_s)
        self.histograms["request"].add_many(np.repeat(delivered_s, counts) - arrivals_s)
        self._arrivals_s.clear()
        self._runs.clear()


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


def _add(tally: Tally, count: int, ns: int) -> None:
    tally.count += count
    tally.ns += ns


def _copy(tally: Tally) -> Tally:
    return Tally(tally.count, tally.ns)
