"""Captured requests through versions, compared with what was answered: as fast as it goes, or at a speed of its own.

    as fast as it goes   capture ─► batches of thousands ─► threads: all versions, run by run ─► compared, in order
    original, 2x         streams ─► one order ─► units sent when due ─► answers, in order ─► joined ─► compared

What is compared comes in the order of the capture whatever the threads do, so that the same figures come out each time,
and after a pause. At every ``pause`` all that was found belongs to one place of the capture.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlserve.core.progress import Progress, silent
from mlserve.replay.answering import Answered, Version, answer
from mlserve.replay.findings import Labels
from mlserve.replay.found import Found, again, first_of, noise_sample
from mlserve.replay.grouping import Groups
from mlserve.replay.joining import joined, joined_answers
from mlserve.replay.ordering import drawn_ahead, in_order
from mlserve.replay.pacing import Answer, Wire, paced
from mlserve.replay.runs import Composition, edges_of
from mlserve.replay.schedule import Source, Unit, merged, units_of
from mlserve.rows.captured import EVERYTHING, CapturedBatch, Window
from mlserve.rows.captured_reading import Captured

JOIN_ROWS = 2048
"""Answers that came one by one are compared so many rows at a time."""

COMPARING = 8
"""So many of those joined batches may wait to be compared; the sending waits beyond that, and is late."""

AHEAD = 1024
"""So many units are read before they are due."""

Pause = Callable[[Found], None]
Stop = Callable[[], bool]
"""Whether to end here, with what was found so far; asked wherever that is all of one place."""


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is replayed and how: ``speed`` None is as fast as it goes; ``limit`` counts requests, None for all.

    ``baseline`` None compares with what was recorded; ``noise`` answers a sample once more, None for no noise floor.
    """

    composition: Composition = "recorded"
    speed: float | None = None
    window: Window = EVERYTHING
    limit: int | None = None
    lanes: int = 1
    baseline: Version | None = None
    noise: Version | None = None
    labels: Labels | None = None
    groups: Groups | None = None


def replay_fast(
    captured: Captured,
    versions: Sequence[Version],
    plan: Plan,
    found: Found,
    *,
    pause: Pause | None = None,
    stop: Stop = never,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """All of ``captured`` from where ``found`` stands, through ``versions`` in this process, as fast as it goes.

    Whether it came to the end; not where ``stop`` said so.
    """
    began_s, before_s = clock(), found.seconds

    def work(numbered: tuple[int, CapturedBatch]) -> list[Answered]:
        return _answers(versions, plan, *numbered)

    batches = _limited(captured.batches(plan.window, found.place), plan.limit, found.taken)
    numbered = enumerate(batches, start=found.batches)
    for (number, batch), answers in in_order(numbered, work, threads=plan.lanes):
        _take(found, plan, number, batch, answers, batch.compute_ns, _recorded_runs(versions, plan, batch))
        found.seconds = before_s + clock() - began_s
        progress("replaying requests", found.taken, plan.limit)
        if batch.place is not None:
            if pause is not None:
                pause(found)
            if stop():
                return False
    return True


def replay_paced(
    captured: Captured,
    wire: Wire,
    plan: Plan,
    found: Found,
    *,
    in_runs: bool,
    pause: Pause | None = None,
    stop: Stop = never,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """All of ``captured`` from where ``found`` stands, over ``wire`` at the speed of ``plan``.

    With ``in_runs`` a recorded run is sent at once. Comparing is done in a thread beside the sending. Whether it came
    to the end; where ``stop`` said so, what had been sent was waited for.
    """
    began_s, before_s = clock(), found.seconds
    waiting: deque[Future[None]] = deque()

    def compare(answers: list[Answer], number: int) -> None:
        _compare(found, plan, answers, number, in_runs=in_runs)
        found.seconds = before_s + clock() - began_s
        if pause is not None:
            pause(found)

    units = _passed_over(_in_order_of_arrival(captured, plan, in_runs=in_runs), found.units)
    # Reading a block takes milliseconds, in which nothing must be late.
    ahead = drawn_ahead(_limited_units(units, plan.limit, found), AHEAD)
    number = found.batches
    with ThreadPoolExecutor(1, "replay-compare") as comparing:
        sent = paced(ahead, wire, plan.speed, clock, stop=stop)
        for answers in _grouped(sent):
            waiting.append(comparing.submit(compare, answers, number))
            number += 1
            while waiting and (waiting[0].done() or len(waiting) > COMPARING):
                waiting.popleft().result()
            progress("replaying requests", found.taken, plan.limit)
        while waiting:
            waiting.popleft().result()
    return not stop()


def _answers(versions: Sequence[Version], plan: Plan, number: int, batch: CapturedBatch) -> list[Answered]:
    """The answers of ``versions``, then of the baseline, then of the baseline to its sample again, where there are."""
    found = [answer(one, batch, edges_of(batch, plan.composition, one.max_rows)) for one in versions]
    if plan.baseline is not None:
        found.append(answer(plan.baseline, batch, edges_of(batch, plan.composition, plan.baseline.max_rows)))
    if plan.noise is not None and (sample := noise_sample(batch, number)) is not None:
        found.append(again(plan.noise, sample, edges_of(batch, plan.composition, plan.noise.max_rows)))
    return found


def _take(
    found: Found,
    plan: Plan,
    number: int,
    batch: CapturedBatch,
    answers: list[Answered],
    recorded_ns: np.ndarray[Any, Any],
    recorded_runs: list[int] | None,
) -> None:
    count = len(found.candidates)
    expected = answers[count] if plan.baseline is not None else None
    found.add(
        batch,
        answers[:count],
        expected,
        recorded_runs=recorded_runs,
        recorded_ns=recorded_ns,
        labels=plan.labels,
        groups=plan.groups,
    )
    sample = noise_sample(batch, number) if plan.noise is not None else None
    if sample is not None:
        known = None if expected is None else first_of(expected, batch, sample.requests)
        found.add_noise(sample, known, answers[-1])


def _recorded_runs(versions: Sequence[Version], plan: Plan, batch: CapturedBatch) -> list[int] | None:
    if plan.composition != "recorded" or all(one.max_rows is None for one in versions):
        return None
    return edges_of(batch, "recorded", 1)


def _compare(found: Found, plan: Plan, answers: list[Answer], number: int, *, in_runs: bool) -> None:
    """Take neighbours that were sent one by one as one batch; the baseline answers in this thread."""
    batches = [one.unit.batch for one in answers]
    batch = joined(batches)
    edges = [0, *np.cumsum([one.requests for one in batches]).tolist()] if in_runs else None
    for one in answers:
        if one.lag_s is not None:
            found.lag.add(one.lag_s, one.unit.batch.requests)
    found.units += len(answers)
    which = range(len(found.candidates))
    taken = [joined_answers([one.answers[at] for one in answers], batches) for at in which]
    for version in (plan.baseline,) if plan.baseline is not None else ():
        own = edges if edges is not None and version.max_rows is not None else None
        taken.append(answer(version, batch, own or edges_of(batch, "fresh", version.max_rows)))
    if plan.noise is not None and (sample := noise_sample(batch, number)) is not None:
        taken.append(again(plan.noise, sample, edges or [0, batch.requests]))
    _take(found, plan, number, batch, taken, batch.queue_ns + batch.compute_ns, edges)


def _in_order_of_arrival(captured: Captured, plan: Plan, *, in_runs: bool) -> Iterator[Unit]:
    def opened(stream: Any) -> Callable[[], Iterator[Unit]]:
        return lambda: units_of(captured.read(stream, plan.window), plan.composition, in_runs=in_runs)

    return merged([Source(stream.first_ns, opened(stream)) for stream in captured.streams()])


def _passed_over(units: Iterator[Unit], count: int) -> Iterator[Unit]:
    for number, unit in enumerate(units):
        if number >= count:
            yield unit


def _grouped(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    """Neighbours that can be joined, up to ``JOIN_ROWS`` rows; what is empty comes by itself."""
    held: list[Answer] = []
    rows = 0
    for one in answers:
        if held and (rows >= JOIN_ROWS or not _goes_on(held[-1], one)):
            yield held
            held, rows = [], 0
        held.append(one)
        rows += one.unit.batch.rows
    if held:
        yield held


def _goes_on(before: Answer, after: Answer) -> bool:
    one, other = before.unit.batch, after.unit.batch
    return (
        bool(one.requests)
        and bool(other.requests)
        and one.continues(other)
        and all(_alike(mine, theirs) for mine, theirs in zip(before.answers, after.answers, strict=True))
    )


def _alike(one: Answered, other: Answered) -> bool:
    """Whether rows of both may stand in one array. A unit that failed whole has none, and stands by itself."""
    shapes = [{name: array.shape[1:] for name, array in part.outputs.items()} for part in (one, other)]
    return shapes[0] == shapes[1]


def _limited(batches: Iterator[CapturedBatch], limit: int | None, taken: int) -> Iterator[CapturedBatch]:
    """``batches`` up to ``limit`` requests, of which so many were taken before."""
    for batch in batches:
        if limit is not None and taken + batch.requests >= limit:
            if limit > taken:
                yield replace(batch.slice(0, limit - taken), left_out=batch.left_out)
            return
        taken += batch.requests
        yield batch


def _limited_units(units: Iterator[Unit], limit: int | None, found: Found) -> Iterator[Unit]:
    taken = found.taken
    for unit in units:
        if limit is not None and taken >= limit:
            return
        taken += unit.batch.requests
        yield unit
