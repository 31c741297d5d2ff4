"""What one worker tells of itself, and what several say of the same thing made one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import msgspec

from mlserve.serving.metrics.families import Family, merged
from mlserve.serving.seam import ModelState, ModelStatus
from mlserve.serving.tallies import BatchTally, ModelStatistics, Tally

_KEPT_KINDS = ("counter", "histogram", "untyped")
_WORST_FIRST = (ModelState.UNAVAILABLE, ModelState.UNLOADING, ModelState.LOADING)


class Told(msgspec.Struct):
    """One worker at one moment: its metrics, statistics and index.

    ``asked`` are the versions that were loaded on demand, by model, ``unloaded`` the models that are kept away on
    demand. One that ``is_leaving`` takes no new clients: what it has loaded matters to nobody any more.
    """

    families: list[Family] = []
    statistics: list[ModelStatistics] = []
    models: list[ModelStatus] = []
    asked: dict[str, list[int]] = {}
    unloaded: list[str] = []
    is_leaving: bool = False


def summed(workers: Iterable[Told]) -> Told:
    """The counts of several workers as one; without an index, which is ``agreed`` on."""
    found = list(workers)
    return Told(merged(told.families for told in found), _summed_statistics(told.statistics for told in found))


def counted(told: Told) -> Told:
    """What stays of a worker that has ended: what it had at the time, such as queues and memory, went with it."""
    families = [family for family in told.families if family.kind in _KEPT_KINDS]
    statistics = [msgspec.structs.replace(one, waiting_rows=0) for one in told.statistics]
    return Told(families, statistics)


def agreed(workers: Mapping[str, Told | None]) -> list[ModelStatus]:
    """The index of all ``workers``, by process id: a version is READY where it is in each of them.

    What keeps it from that is said as the worker says it; None is a worker that does not answer.
    """
    lines = {
        name: {(line.name, line.version): line for line in told.models}
        for name, told in workers.items()
        if told is not None
    }
    silent = next((name for name, told in workers.items() if told is None), None)
    keys = {key for found in lines.values() for key in found}
    versioned = {name for name, version in keys if version is not None}
    return [
        _agreed_line(key, lines, silent)
        for key in sorted(keys, key=lambda key: (key[0], int(key[1] or 0)))
        if key[1] is not None or key[0] not in versioned
    ]


def _agreed_line(
    key: tuple[str, str | None], lines: Mapping[str, Mapping[tuple[str, str | None], ModelStatus]], silent: str | None
) -> ModelStatus:
    there = {name: found[key] for name, found in lines.items() if key in found}
    for state in _WORST_FIRST:
        of_state = {name: line for name, line in there.items() if line.state is state}
        if of_state:
            name, line = next(iter(of_state.items()))
            is_everywhere = len(of_state) == len(lines) or not line.reason
            return line if is_everywhere else ModelStatus(*key, state, f"{line.reason} (in worker {name})")
    absent = next((name for name in lines if name not in there), None)
    if absent is not None:
        return ModelStatus(*key, ModelState.UNAVAILABLE, f"not loaded in worker {absent}")
    if silent is not None:
        return ModelStatus(*key, ModelState.UNAVAILABLE, f"worker {silent} does not answer")
    return next((line for line in there.values() if line.reason), next(iter(there.values())))


def _summed_statistics(workers: Iterable[Iterable[ModelStatistics]]) -> list[ModelStatistics]:
    """By name and version."""
    found: dict[tuple[str, int], ModelStatistics] = {}
    for statistics in workers:
        for one in statistics:
            key = one.name, int(one.version)
            found[key] = _sum(found[key], one) if key in found else one
    return [found[key] for key in sorted(found)]


def _sum(mine: ModelStatistics, theirs: ModelStatistics) -> ModelStatistics:
    def tally(name: str) -> Tally:
        return _both(getattr(mine, name), getattr(theirs, name))

    batches = reduce(_with_batch, [*mine.batches, *theirs.batches], dict[int, BatchTally]())
    return ModelStatistics(
        name=mine.name,
        version=mine.version,
        last_inference_ms=max(mine.last_inference_ms, theirs.last_inference_ms),
        inference_count=mine.inference_count + theirs.inference_count,
        execution_count=mine.execution_count + theirs.execution_count,
        success=tally("success"),
        fail=tally("fail"),
        queue=tally("queue"),
        compute_input=tally("compute_input"),
        compute_infer=tally("compute_infer"),
        compute_output=tally("compute_output"),
        cache_hit=tally("cache_hit"),
        cache_miss=tally("cache_miss"),
        batches=[batches[rows] for rows in sorted(batches)],
        rejected={
            reason: mine.rejected.get(reason, 0) + theirs.rejected.get(reason, 0)
            for reason in {**mine.rejected, **theirs.rejected}
        },
        histograms={
            name: histogram.merged(theirs.histograms[name]) if name in theirs.histograms else histogram
            for name, histogram in mine.histograms.items()
        },
        waiting_rows=mine.waiting_rows + theirs.waiting_rows,
    )


def _with_batch(sizes: dict[int, BatchTally], more: BatchTally) -> dict[int, BatchTally]:
    known = sizes.get(more.rows)
    if known is None:
        return {**sizes, more.rows: more}
    phases = (
        _both(known.compute_input, more.compute_input),
        _both(known.compute_infer, more.compute_infer),
        _both(known.compute_output, more.compute_output),
    )
    return {**sizes, more.rows: BatchTally(more.rows, *phases)}


def _both(mine: Tally, theirs: Tally) -> Tally:
    return Tally(mine.count + theirs.count, mine.ns + theirs.ns)
