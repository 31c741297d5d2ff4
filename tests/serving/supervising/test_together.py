"""Workers that are asked as one, over real sockets, through failures of some of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mlserve.errors import DeadlineExceeded, InvalidInput, NotFound
from mlserve.serving.accounting import Account
from mlserve.serving.seam import ModelState, ModelStatus
from mlserve.serving.supervising.asking import Ask, AskedServer
from mlserve.serving.supervising.telling import Told
from mlserve.serving.supervising.together import GRACE_S, Together
from tests.serving.fakes import FakeEngine, doubling

AT_ONCE_S = -GRACE_S + 0.05
"""Patience of 50 ms."""


class Other:
    """Another worker, which notes what it is asked to do, and then does ``act``."""

    def __init__(self, folder: Path, name: str, told: Told | None = None) -> None:
        self.asks: list[Ask] = []
        self.act: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        self.server = AskedServer(folder, name, lambda: told or Told(), self._do)

    async def _do(self, ask: Ask) -> None:
        self.asks.append(ask)
        await self.act()


class Own:
    """This worker: an engine, and a place where it is asked."""

    def __init__(self, folder: Path, patience_s: float = 60.0) -> None:
        self.engine = FakeEngine()
        self.engine.add(doubling())
        self.server = AskedServer(
            folder, "1", lambda: Told(models=self.engine.statuses, statistics=self.engine.counted)
        )
        self.together = Together(folder, self.server, self.engine, patience_s)


def fails(error: Exception) -> Callable[[], Awaitable[object]]:
    async def act() -> None:
        raise error

    return act


def test_a_load_reaches_every_worker_and_returns_when_all_have_done_it(tmp_path: Path) -> None:
    async def story() -> None:
        own, others = Own(tmp_path), [Other(tmp_path, "2"), Other(tmp_path, "3")]
        may_end = asyncio.Event()
        for one in others:
            await one.server.start()
        others[1].act = may_end.wait
        loading = asyncio.create_task(own.together.load("fraud", [7]))
        while not others[1].asks:
            await asyncio.sleep(0.001)
        assert not loading.done()
        may_end.set()
        await loading
        await own.together.unload("fraud")

        assert own.engine.loads == [("fraud", [7])]
        assert own.engine.unloads == ["fraud"]
        for one in others:
            assert one.asks == [Ask("load", "fraud", [7]), Ask("unload", "fraud")]
            one.server.close()

    asyncio.run(story())


def test_what_one_worker_cannot_load_is_said_with_its_name(tmp_path: Path) -> None:
    async def story() -> None:
        own, other = Own(tmp_path), Other(tmp_path, "2")
        await other.server.start()
        other.act = fails(InvalidInput("'m.onnx' is broken", hint="mend it"))
        with pytest.raises(InvalidInput, match=r"'m\.onnx' is broken \(in worker 2, one of 1 of 2\)") as caught:
            await own.together.load("fraud")
        other.server.close()

        assert caught.value.hint == "mend it"
        assert own.engine.loads == [("fraud", None)], "the others have it nevertheless"

    asyncio.run(story())


def test_an_error_of_this_worker_alone_is_named_without_changing_what_it_tells_of_itself(tmp_path: Path) -> None:
    async def story() -> None:
        own, other = Own(tmp_path), Other(tmp_path, "2")
        await other.server.start()
        own.engine.refuse = InvalidInput("'m.onnx' is broken")
        for _ in range(2):
            with pytest.raises(InvalidInput, match=r"'m\.onnx' is broken \(in worker 1, one of 1 of 2\)$"):
                await own.together.load("fraud")
        other.server.close()

        assert own.engine.refuse.message == "'m.onnx' is broken"

    asyncio.run(story())


def test_what_no_worker_can_load_is_said_as_it_is_with_one(tmp_path: Path) -> None:
    async def story() -> None:
        own, other = Own(tmp_path), Other(tmp_path, "2")
        await other.server.start()
        own.engine.refuse = NotFound("no version 7")
        other.act = fails(NotFound("no version 7"))
        with pytest.raises(NotFound) as caught:
            await own.together.load("fraud", [7])
        other.server.close()

        assert caught.value.message == "no version 7"

    asyncio.run(story())


def test_a_worker_that_ended_or_ends_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        own, ending = Own(tmp_path), Other(tmp_path, "3")
        (tmp_path / "2.sock").touch()  # a file of one that was killed: nobody listens there
        await ending.server.start()

        async def end() -> None:
            ending.server.close()
            raise asyncio.CancelledError

        ending.act = end
        await own.together.load("fraud")

        assert own.engine.loads == [("fraud", None)]
        assert [one.state for one in await own.together.models()] == [ModelState.READY]

    asyncio.run(story())


def test_a_worker_that_hangs_is_named_after_a_while(tmp_path: Path) -> None:
    async def story() -> None:
        own, hanging = Own(tmp_path, AT_ONCE_S), Other(tmp_path, "2")
        await hanging.server.start()
        hanging.act = asyncio.Event().wait
        with pytest.raises(DeadlineExceeded, match="worker 2 did not load within"):
            await own.together.load("fraud")
        hanging.server.close()

    asyncio.run(story())


def test_statistics_are_summed_over_the_workers_and_those_that_another_has_are_told_too(tmp_path: Path) -> None:
    def counts(version: int, rows: int) -> Told:
        return Told(statistics=[Account("fraud", version, rows=rows).statistics()])

    async def story() -> None:
        own = Own(tmp_path)
        own.engine.counted = counts(1, 5).statistics
        others = [Other(tmp_path, "2", counts(1, 7)), Other(tmp_path, "3", counts(2, 1))]
        for one in others:
            await one.server.start()

        async def rows(*wanted: object) -> list[tuple[str, int]]:
            found = await own.together.statistics(*wanted)  # type: ignore[arg-type]
            return [(one.version, one.inference_count) for one in found]

        assert await rows() == [("1", 12), ("2", 1)]
        assert await rows("fraud", 1) == [("1", 12)]
        assert await rows("fraud", 2) == [("2", 1)], "although this worker has no version 2"
        with pytest.raises(NotFound):
            await rows("fraud", 3)
        for one in others:
            one.server.close()

    asyncio.run(story())


def test_one_that_leaves_has_no_say_in_the_index_but_what_it_counted_stays(tmp_path: Path) -> None:
    async def story() -> None:
        own = Own(tmp_path)
        told = Told(
            statistics=[Account("fraud", 1, rows=7).statistics()],
            models=[ModelStatus("fraud", "1", ModelState.UNLOADING)],
            is_leaving=True,
        )
        leaving = Other(tmp_path, "2", told)
        await leaving.server.start()

        assert [one.state for one in await own.together.models()] == [ModelState.READY]
        assert [one.inference_count for one in await own.together.statistics()] == [7]
        leaving.server.close()

    asyncio.run(story())


def test_a_successor_does_what_the_others_were_asked_before_it_came(tmp_path: Path) -> None:
    async def story() -> None:
        own, other = Own(tmp_path), Other(tmp_path, "2", Told(asked={"fraud": [3, 7]}, unloaded=["fraud", "gone"]))
        await other.server.start()
        await own.together.caught_up()
        other.server.close()

        assert own.engine.loads == [("fraud", [3]), ("fraud", [7])]
        assert own.engine.unloads == ["fraud"], "a model that is not there is away already"

    asyncio.run(story())
