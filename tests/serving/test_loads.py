"""Loads that hang, that nobody wants any more, and that others have to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mlserve.errors import DeadlineExceeded
from mlserve.serving.loads import Loads


class Slow:
    """A load that ends when it is let; ``discarded`` is set when its result is thrown away."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.has_begun = threading.Event()
        self.discarded = asyncio.Event()

    def load(self) -> Slow:
        self.has_begun.set()
        assert self.may_end.wait(60.0)
        return self

    def discard(self, made: Slow) -> None:
        assert made is self
        self.discarded.set()


async def begun(slow: Slow) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, slow.has_begun.wait, 60.0)


def test_a_load_past_its_limit_is_left_behind_and_its_result_thrown_away() -> None:
    async def story() -> None:
        slow = Slow()

        with pytest.raises(DeadlineExceeded, match=r"loading m:1 has taken longer than 0\.01 s"):
            await Loads(0.01).run(slow.load, slow.discard, "m:1")

        slow.may_end.set()
        await asyncio.wait_for(slow.discarded.wait(), 60.0)

    asyncio.run(story())


def test_a_load_that_is_given_up_lets_the_next_one_begin() -> None:
    async def story() -> None:
        loads, slow, next_one = Loads(600.0), Slow(), Slow()
        first = asyncio.create_task(loads.run(slow.load, slow.discard, "m:1"))
        await begun(slow)
        second = asyncio.create_task(loads.run(next_one.load, next_one.discard, "m:2"))

        first.cancel()

        await begun(next_one)
        next_one.may_end.set()
        assert await second is next_one
        slow.may_end.set()
        await asyncio.wait_for(slow.discarded.wait(), 60.0)
        assert not next_one.discarded.is_set()

    asyncio.run(story())


def test_one_loads_after_the_other() -> None:
    async def story() -> None:
        loads, one, other = Loads(600.0), Slow(), Slow()
        first = asyncio.create_task(loads.run(one.load, one.discard, "m:1"))
        await begun(one)
        second = asyncio.create_task(loads.run(other.load, other.discard, "m:2"))
        await asyncio.sleep(0)

        assert not other.has_begun.is_set()
        one.may_end.set()
        other.may_end.set()
        assert (await first, await second) == (one, other)

    asyncio.run(story())


def test_a_load_that_takes_long_lets_others_pass_and_still_counts() -> None:
    async def story() -> None:
        loads, slow, quick = Loads(600.0, overtake_s=0.01), Slow(), Slow()
        first = asyncio.create_task(loads.run(slow.load, slow.discard, "m:1"))
        quick.may_end.set()

        assert await loads.run(quick.load, quick.discard, "n:1") is quick
        slow.may_end.set()
        assert await first is slow

    asyncio.run(story())


def test_what_a_load_raises_is_raised() -> None:
    async def story() -> None:
        def broken() -> Slow:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await Loads(600.0).run(broken, lambda made: None, "m:1")

    asyncio.run(story())
