"""Sending what is due when it is due, whatever the answers do: an open loop, with its own lateness measured.

A request that could not be sent in time counts from when it was due, so that a slow version cannot hide how long its
users would have waited (no coordinated omission). Source: Gil Tene, "How NOT to Measure Latency" (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mlserve.compare.pairs import State
from mlserve.replay.answering import Answered
from mlserve.replay.schedule import Unit
from mlserve.stats.latencies import Latencies

LATE_S = 1e-3
"""A request that was sent later than this is counted as late."""

MOST_UNDER_WAY = 8192
"""So many units may be sent and not yet answered; what is due beyond that waits, and its wait counts."""


@dataclass(frozen=True, slots=True)
class Done:
    """The answer of candidate ``which`` to the unit sent as ``number``, there at ``at_s`` of the wire's clock."""

    number: int
    which: int
    answered: Answered
    at_s: float


class Wire(Protocol):
    """What answers, while others are being sent. ``candidates`` is how many answer each unit."""

    @property
    def candidates(self) -> int: ...

    def has_room(self) -> bool:
        """Whether another unit can be sent now."""

    def send(self, number: int, unit: Unit) -> None:
        """Ask; returns at once."""

    def take(self, timeout_s: float) -> list[Done]:
        """What has been answered, after at most ``timeout_s`` where there is nothing."""


@dataclass(slots=True)
class Lag:
    """How late requests were sent: what the generator itself, or a full wire, did to the schedule."""

    late: int = 0
    max_s: float = 0.0
    lags: Latencies = field(default_factory=Latencies)

    def add(self, seconds: float, requests: int) -> None:
        self.lags.add_many(np.full(requests, max(0.0, seconds)))
        self.max_s = max(self.max_s, seconds)
        self.late += requests if seconds > LATE_S else 0

    def state(self) -> State:
        return {"late": self.late, "max_s": self.max_s, "lags": self.lags.state()}

    @classmethod
    def restored(cls, state: State) -> Lag:
        return cls(int(state["late"]), float(state["max_s"]), Latencies.from_state(state["lags"]))


@dataclass(frozen=True, slots=True)
class Answer:
    """A unit with the answers of all candidates; ``lag_s`` is how late it was sent, None where it was never due."""

    unit: Unit
    answers: list[Answered]
    lag_s: float | None


@dataclass(slots=True)
class _Sent:
    unit: Unit
    from_s: float
    lag_s: float | None
    answers: dict[int, Answered] = field(default_factory=dict)


def paced(
    units: Iterator[Unit],
    wire: Wire,
    speed: float | None,
    clock: Callable[[], float],
    *,
    tick_s: float = 0.05,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Answer]:
    """Each of ``units`` with its answers, in order; sent at its distance from the first divided by ``speed``.

    None for ``speed`` sends as fast as the wire has room. ``took_s`` of an answer counts from when the unit was due, or
    where it never was from when it was sent. ``units`` without a request come back in their place. Once ``stop`` says
    so nothing more is sent.
    """
    sent: dict[int, _Sent] = {}
    number = next_out = 0
    began_s = 0.0
    first_ns: int | None = None

    def gather(timeout_s: float) -> None:
        for done in wire.take(timeout_s):
            one = sent[done.number]
            done.answered.took_s[:] = done.at_s - one.from_s
            one.answers[done.which] = done.answered

    def finished() -> Iterator[Answer]:
        nonlocal next_out
        while next_out in sent and len(sent[next_out].answers) == wire.candidates:
            one = sent.pop(next_out)
            next_out += 1
            yield Answer(one.unit, [one.answers[which] for which in range(wire.candidates)], one.lag_s)

    for unit in units:
        if not unit.batch.requests:
            nothing = {which: Answered({}, np.zeros(0)) for which in range(wire.candidates)}
            sent[number] = _Sent(unit, began_s, None, nothing)
            number += 1
            continue
        if first_ns is None:
            first_ns, began_s = unit.due_ns, clock()
        due_s = None if speed is None else began_s + (unit.due_ns - first_ns) / 1e9 / speed
        while due_s is not None and (left_s := due_s - clock()) > 0 and not stop():
            gather(min(left_s, tick_s))
            yield from finished()
        if stop():
            break
        while not wire.has_room() or len(sent) >= MOST_UNDER_WAY:
            gather(tick_s)
            yield from finished()
        now_s = clock()
        sent[number] = _Sent(unit, now_s if due_s is None else due_s, None if due_s is None else now_s - due_s)
        wire.send(number, unit)
        number += 1
        gather(0.0)
        yield from finished()
    while sent:
        gather(tick_s if next_out not in sent or len(sent[next_out].answers) < wire.candidates else 0.0)
        yield from finished()
