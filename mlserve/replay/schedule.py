"""When captured requests are due again: at their own distances, so many times as fast, or as fast as it goes.

streams of several processes ─► units (a request, or a run) ─► one order of arrival, in bounded memory
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from mlserve.errors import UsageError
from mlserve.replay.runs import Composition, edges_of
from mlserve.rows.captured import CapturedBatch

T = TypeVar("T")

SORTED_UNITS = 4096
"""A process writes requests as they are answered, so that one may stand behind others that came later: within so many
units of its stream the order of arrival is exact."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Requests that are sent at once: one, or with recorded runs those of a run, when the last of them had arrived."""

    batch: CapturedBatch
    due_ns: int


def parse_speed(text: str) -> float | None:
    """How many times as fast as it was: ``original``, ``2x``; None for ``max``. Raises UsageError.

    >>> parse_speed("original"), parse_speed("2x"), parse_speed("max")
    (1.0, 2.0, None)
    """
    if text == "max":
        return None
    if text == "original":
        return 1.0
    try:
        factor = float(text.removesuffix("x")) if text.endswith("x") else 0.0
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1e6:
        raise UsageError(f"--speed '{text}' is none", hint="original, 2x, 0.5x or max")
    return factor


def units_of(batches: Iterable[CapturedBatch], composition: Composition, *, in_runs: bool) -> Iterator[Unit]:
    """Each request of ``batches``, or with ``in_runs`` each recorded run. What was left out goes with the first."""
    for batch in batches:
        left_out = batch.left_out
        if not batch.requests:
            yield Unit(batch, -1)
            continue
        edges = edges_of(batch, composition, 1 if in_runs else None)
        for first, end in pairwise(edges):
            part = batch.slice(first, end)
            part.left_out.update(left_out)
            left_out = Counter()
            yield Unit(part, int(part.arrived_ns.max()))


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """A stream to be merged: nothing in it is due before ``first_ns``, and it is opened when that comes."""

    first_ns: int
    opened: Callable[[], Iterator[T]]


def merged(sources: Iterable[Source[Unit]], window: int = SORTED_UNITS) -> Iterator[Unit]:
    """The units of all ``sources`` in the order they are due, of those that are equal in the order of the sources.

    In memory are ``window`` units of each source that has begun and is not over.
    """
    waiting = sorted(enumerate(sources), key=lambda pair: (pair[1].first_ns, pair[0]), reverse=True)
    heads: list[tuple[int, int, int, Unit]] = []
    begun: dict[int, Iterator[Unit]] = {}
    count = 0

    def advance(number: int) -> None:
        nonlocal count
        unit = next(begun[number], None)
        if unit is None:
            del begun[number]
            return
        count += 1
        heapq.heappush(heads, (unit.due_ns, number, count, unit))

    while waiting or heads:
        while waiting and (not heads or waiting[-1][1].first_ns <= heads[0][0]):
            number, source = waiting.pop()
            begun[number] = _sorted(source.opened(), window)
            advance(number)
        if heads:
            _, number, _, unit = heapq.heappop(heads)
            advance(number)
            yield unit


def _sorted(units: Iterator[Unit], window: int) -> Iterator[Unit]:
    """``units`` in the order they are due, as far as that shows within ``window`` of them."""
    held: list[tuple[int, int, Unit]] = []
    for number, unit in enumerate(units):
        entry = (unit.due_ns, number, unit)
        if len(held) < window:
            heapq.heappush(held, entry)
        else:
            yield heapq.heappushpop(held, entry)[2]
    while held:
        yield heapq.heappop(held)[2]
