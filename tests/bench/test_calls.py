"""Load by calls within this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from mlserve.bench.arrivals import arrivals
from mlserve.bench.calls import Ask, run_calls
from mlserve.bench.clients import RIGHT
from mlserve.bench.outcomes import UNANSWERED, WRONG, Outcome
from mlserve.bench.stretches import Stretch

UNIFORM = arrivals("uniform", 100, 0.3, np.random.default_rng(0))


def load(stretch: Stretch, answer: Callable[[asyncio.AbstractEventLoop, int, Callable[[str], None]], None]) -> Outcome:
    """The outcome of calls that are answered as ``answer`` schedules it."""

    async def run() -> Outcome:
        loop = asyncio.get_running_loop()
        ask: Ask = lambda number, done: answer(loop, number, done)  # noqa: E731
        return await run_calls(ask, stretch)

    return asyncio.run(run())


def at_once(loop: asyncio.AbstractEventLoop, number: int, done: Callable[[str], None]) -> None:
    loop.call_soon(done, RIGHT)


def test_a_closed_loop_calls_again_when_it_is_answered() -> None:
    found = load(Stretch(4, 0.1, warmup_s=0.02), at_once)

    assert found.failed == 0
    assert found.answered > 4
    assert found.cpu_s > 0


def test_an_open_loop_calls_all_that_is_due_and_no_more() -> None:
    found = load(Stretch(4, 0.2, warmup_s=0.1, due=UNIFORM), at_once)

    assert (found.answered, found.failed, found.lags.count) == (20, 0, 20)


def test_calls_beyond_the_concurrency_wait_and_their_wait_counts() -> None:
    def slowly(loop: asyncio.AbstractEventLoop, number: int, done: Callable[[str], None]) -> None:
        loop.call_later(0.2 if number == 0 else 0.0, done, RIGHT)

    found = load(Stretch(1, 0.3, due=UNIFORM), slowly)

    assert found.answered == len(UNIFORM)
    assert found.answered - found.latencies.within(0.1) >= 10


@pytest.mark.parametrize("due", [pytest.param(None, id="closed loop"), pytest.param(UNIFORM, id="open loop")])
def test_failures_are_counted_by_kind(due: np.ndarray | None) -> None:
    def wrongly(loop: asyncio.AbstractEventLoop, number: int, done: Callable[[str], None]) -> None:
        loop.call_soon(done, WRONG if number % 2 else "status 429")

    found = load(Stretch(2, 0.3, due=due), wrongly)

    assert found.failures.keys() == {WRONG, "status 429"}
    assert found.answered == 0


def test_calls_that_are_never_answered_are_failures() -> None:
    def never(loop: asyncio.AbstractEventLoop, number: int, done: Callable[[str], None]) -> None:
        return

    closed = load(Stretch(3, 0.1, drain_s=0.05), never)
    open_ = load(Stretch(3, 0.3, drain_s=0.05, due=UNIFORM), never)

    assert dict(closed.failures) == {UNANSWERED: 3}
    assert dict(open_.failures) == {UNANSWERED: len(UNIFORM)}
