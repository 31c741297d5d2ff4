"""Loading and unloading when a client asks, while stages move and loads fail."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from mlserve.errors import Conflict, InvalidInput, NotFound, Unavailable, Unsupported
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Wanted
from mlserve.serving.seam import ModelState
from tests.serving.engines import GatedModel, World, gated, started, wanted
from tests.serving.test_following import FakeRegistry, Followed

ONE = np.ones((1, 1), np.float32)


def open_gate() -> GatedModel:
    model = GatedModel()
    model.gate.set()
    return model


def lines(world: World) -> list[tuple[str | None, ModelState, str]]:
    return [(line.version, line.state, line.reason) for line in world.repository.statuses()]


def test_a_version_without_a_stage_is_loaded_beside_the_others_and_stays() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            await world.follower.load("m", [3])
            assert (await world.ask("m", 3, x=ONE)).version == "3"
            assert (await world.ask("m", x=ONE)).version == "1"
            assert world.engine.view("m", 3).stages == ()

            registry.move(production=2)
            await world.until(lambda: world.seen("swapped") == [1, 2])
            assert (await world.ask("m", 3, x=ONE)).version == "3"
            await world.follower.load("m", [3])
            assert world.loads == [1, 3, 2]

    asyncio.run(story())


def test_two_who_ask_for_one_version_share_its_load() -> None:
    async def story() -> None:
        registry, may_load = FakeRegistry({"production": 1}), threading.Event()
        async with Followed(registry) as world:
            registry.fetch = lambda placement: may_load.wait(60.0)  # type: ignore[assignment,method-assign,return-value]
            both = [asyncio.create_task(world.follower.load("m", [3])) for _ in range(2)]
            await world.until(lambda: world.loads == [1, 3])
            registry.move(production=1, staging=3)
            await world.until(lambda: world.repository.statuses()[1].state is ModelState.LOADING)
            may_load.set()
            await asyncio.gather(*both)

            assert world.loads == [1, 3]
            await world.until(lambda: world.repository.holds("m", "staging", 3))

    asyncio.run(story())


def test_what_cannot_be_loaded_on_demand_says_why_and_shows() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1}, archived={4})
        async with Followed(registry) as world:
            world.broken = {3}
            with pytest.raises(InvalidInput, match="version 3 is broken"):
                await world.follower.load("m", [3])
            with pytest.raises(Conflict, match="archived"):
                await world.follower.load("m", [4])
            with pytest.raises(NotFound, match="no version 10"):
                await world.follower.load("m", [10])
            with pytest.raises(NotFound, match="no model 'n'"):
                await world.follower.load("n")

            assert lines(world) == [
                ("1", ModelState.READY, ""),
                ("3", ModelState.UNAVAILABLE, "version 3 is broken"),
            ]
            await world.until(lambda: registry.failures[-1] == {("m", 3): "version 3 is broken"})
            world.broken = set()
            await world.follower.load("m", [3])
            assert world.engine.is_ready("m", 3)

    asyncio.run(story())


def test_a_version_archived_after_it_was_asked_for_goes() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            await world.follower.load("m", [3])
            registry.archived = {3}
            registry.move(production=1)

            await world.until(lambda: lines(world) == [("1", ModelState.READY, "")])

    asyncio.run(story())


def test_an_unloaded_model_stays_away_until_it_is_loaded_again() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            await world.follower.load("m", [3])
            await world.follower.unload("m")

            assert lines(world) == [
                ("1", ModelState.UNAVAILABLE, "unloaded"),
                ("3", ModelState.UNAVAILABLE, "unloaded"),
            ]
            with pytest.raises(Unavailable, match="'m' is unloaded") as caught:
                world.ask("m", x=ONE)
            assert caught.value.hint == "POST /v2/repository/models/m/load brings it back"
            assert not world.engine.is_ready("m")
            polls = len(registry.reports)
            registry.move(production=2)
            await world.until(lambda: len(registry.reports) > polls + 1)
            assert registry.reports[-1] == ({}, "ready")
            assert world.loads == [1, 3]

            await world.follower.load("m")
            assert (await world.ask("m", x=ONE)).version == "2"
            await world.until(lambda: registry.reports[-1][0] == {("m", "production"): 2})

    asyncio.run(story())


def test_unloading_waits_for_what_is_being_answered() -> None:
    async def story() -> None:
        model = GatedModel()
        world = World(["m"], lambda one: gated(model, name=one.name))
        await world.repository.apply([wanted("m", 1)])
        running = world.ask("m", x=ONE)
        await started(model)
        unloading = asyncio.create_task(world.repository.unload("m"))
        await asyncio.sleep(0)

        assert lines(world) == [("1", ModelState.UNLOADING, "")]
        model.gate.set()
        await unloading
        assert (await running).version == "1"
        assert lines(world) == [("1", ModelState.UNAVAILABLE, "unloaded")]
        assert model.is_closed
        with pytest.raises(NotFound):
            await world.repository.unload("n")
        world.close()

    asyncio.run(story())


def test_a_failed_version_is_tried_again_when_it_is_asked_for() -> None:
    async def story() -> None:
        async with Followed(FakeRegistry({"production": 1, "challenger": 2})) as world:
            world.broken = {2}
            world.engine.models()
            await world.follower.load("m")
            assert world.engine.is_ready("m", 2)

        broken = Followed(FakeRegistry({"production": 1, "challenger": 2}))
        broken.broken = {2}
        async with broken:
            with pytest.raises(InvalidInput, match="2 is broken"):
                await broken.follower.load("m")
            broken.broken = set()
            await broken.follower.load("m")
            assert broken.engine.is_ready("m", 2)

    asyncio.run(story())


def test_a_file_is_read_again_and_swapped_and_a_bad_one_leaves_the_old() -> None:
    async def story() -> None:
        made = [open_gate(), open_gate()]
        content: list[GatedModel | Exception] = list(made)

        def load(one: Wanted) -> Loaded:
            found = content.pop(0)
            if isinstance(found, Exception):
                raise found
            return gated(found, name=one.name)

        registry = FakeRegistry()
        world = Followed(registry, fixed=[wanted("file")], names=[])
        world.repository._load = load
        async with world:
            await world.follower.load("file")
            assert (await world.ask("file", x=ONE)).version == "1"
            assert [model.is_closed for model in made] == [True, False]
            assert world.seen("swapped") == [1, 1]

            content.append(InvalidInput("not a model"))
            with pytest.raises(InvalidInput, match="not a model"):
                await world.follower.load("file", [1])
            assert (await world.ask("file", x=ONE)).version == "1"
            assert lines(world) == [("1", ModelState.READY, "not loaded again, the one before goes on: not a model")]
            assert [(event["version"], event["reason"]) for event in world.events if event["event"] == "failed"] == [
                (1, "not a model")
            ]
            assert not world.repository.is_retry_due(1e12)
            content.append(InvalidInput("nor now"))
            both = [asyncio.create_task(world.follower.load("file")) for _ in range(2)]
            assert [str(error) for error in await asyncio.gather(*both, return_exceptions=True)] == ["nor now"] * 2
            content.append(open_gate())
            await world.follower.load("file")
            assert lines(world) == [("1", ModelState.READY, "")]
            with pytest.raises(NotFound, match="no version 2 of 'file'"):
                await world.follower.load("file", [2])
            with pytest.raises(NotFound):
                await world.follower.load("m")

    asyncio.run(story())


def test_two_who_ask_for_a_bad_file_again_are_both_told() -> None:
    async def story() -> None:
        content: list[GatedModel | Exception] = [open_gate(), InvalidInput("not a model"), open_gate()]

        def load(one: Wanted) -> Loaded:
            found = content.pop(0)
            if isinstance(found, Exception):
                raise found
            return gated(found, name=one.name)

        world = Followed(FakeRegistry(), fixed=[wanted("file")], names=[])
        world.repository._load = load
        async with world:
            both = await asyncio.gather(*(world.follower.load("file") for _ in range(2)), return_exceptions=True)

            assert [str(error) for error in both] == ["not a model"] * 2
            assert lines(world)[0][2].endswith("not a model")
            assert not world.repository.is_retry_due(1e12)
            await world.follower.load("file")
            assert lines(world) == [("1", ModelState.READY, "")]

    asyncio.run(story())


def test_without_a_registry_there_is_nothing_to_load_from() -> None:
    async def story() -> None:
        world = World(["m"], lambda one: gated(open_gate()))
        with pytest.raises(Unsupported):
            await world.engine.load("m")
        world.close()

    asyncio.run(story())


def test_a_load_that_never_ends_does_not_keep_a_rollback_from_being_applied() -> None:
    async def story() -> None:
        registry, forever = FakeRegistry({"production": 1}), threading.Event()
        async with Followed(registry) as world:
            registry.fetch = lambda placement: forever.wait(60.0)  # type: ignore[assignment,method-assign,return-value]
            registry.move(production=2)
            await world.until(lambda: world.loads == [1, 2])
            registry.move(production=1)
            await world.until(lambda: world.seen("abandoned") == [2])

            assert lines(world) == [("1", ModelState.READY, "")]
            await world.until(lambda: registry.reports[-1][0] == {("m", "production"): 3})
            registry.fetch = lambda placement: None  # type: ignore[assignment,method-assign,return-value]
            registry.move(production=3)
            await world.until(lambda: world.seen("swapped") == [1, 3])
            forever.set()

    asyncio.run(story())


def test_a_version_that_never_loads_is_given_up_in_time_and_not_tried_again_by_itself() -> None:
    async def story() -> None:
        forever, closed = threading.Event(), open_gate()

        def load(one: Wanted) -> Loaded:
            if one.version == 2:
                assert forever.wait(60.0)
                return gated(closed, version=2)
            return gated(open_gate())

        world = World(["m"], load, repository={"load_timeout_s": 0.01})
        await world.repository.apply([wanted("m", 1)])
        await world.repository.apply([wanted("m", 2)])

        assert (await world.ask("m", x=ONE)).version == "1"
        assert lines(world)[1] == ("2", ModelState.UNAVAILABLE, "loading m:2 has taken longer than 0.01 s")
        assert not world.repository.is_retry_due(1e12)
        forever.set()
        while not closed.is_closed:
            await asyncio.sleep(0.001)
        world.close()

    asyncio.run(story())
