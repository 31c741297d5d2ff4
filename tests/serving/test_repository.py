"""Loaded versions: swaps without a gap, failures that change nothing, and memory let go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from mlserve.errors import InvalidInput, NotFound, Unavailable
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Wanted
from mlserve.serving.repository import Repository
from mlserve.serving.seam import ModelState
from tests import models
from tests.serving.engines import INLINE, GatedModel, World, arrays, gated, loader, rows, started, wanted

ONE = np.ones((1, 1), np.float32)


def of(made: dict[int, GatedModel | Exception]) -> Callable[[Wanted], Loaded]:
    def load(one: Wanted) -> Loaded:
        model = made[one.version]
        if isinstance(model, Exception):
            raise model
        return gated(model, name=one.name, version=one.version)

    return load


def open_gate(refused: dict[float, Exception] | None = None) -> GatedModel:
    model = GatedModel(refused)
    model.gate.set()
    return model


def events(world: World, kind: str) -> list[tuple[str, int | None]]:
    return [(event["model"], event["version"]) for event in world.events if event["event"] == kind]


def test_a_swap_under_load_fails_no_request_and_changes_the_answers() -> None:
    async def story() -> None:
        protos = {("m", version): models.classifier(seed=version) for version in (1, 2, 3)}
        world = World(["m"], loader(protos, INLINE))
        await world.repository.apply([wanted("m", 1)])
        seen: list[str] = []
        is_over = asyncio.Event()

        async def client(seed: int) -> None:
            while not is_over.is_set():
                answer = await world.ask("m", x=rows(1, seed))
                seen.append(answer.version)
                expected = single[answer.version].run({"x": rows(1, seed)})["probabilities"]
                np.testing.assert_allclose(arrays(answer)["probabilities"], expected, atol=1e-6)

        single = {str(version): loader(protos, INLINE)(wanted("m", version))._model for version in (1, 2, 3)}
        clients = [asyncio.create_task(client(number)) for number in range(8)]
        for version in (2, 3, 1, 2):
            await world.repository.apply([wanted("m", version)])
            before = len(seen)
            while len(seen) < before + 50:
                await asyncio.sleep(0)
        is_over.set()
        await asyncio.gather(*clients)
        await world.repository.drained()

        assert [version for version, previous in zip(seen, ["", *seen], strict=False) if version != previous] == list(
            "12312"
        )
        assert events(world, "swapped") == [("m", 1), ("m", 2), ("m", 3), ("m", 1), ("m", 2)]
        assert events(world, "unloaded") == [("m", 1), ("m", 2), ("m", 3), ("m", 1)]
        world.close()

    asyncio.run(story())


def test_the_old_version_answers_what_it_has_before_it_goes() -> None:
    async def story() -> None:
        old, new = GatedModel(), open_gate()
        world = World(["m"], of({1: old, 2: new}), lanes=1)
        await world.repository.apply([wanted("m", 1)])
        running = world.ask("m", x=ONE)
        await started(old)
        queued = world.ask("m", x=ONE)
        await world.repository.apply([wanted("m", 2)])
        after = world.ask("m", x=ONE)

        assert not old.is_closed
        old.gate.set()
        answers = await asyncio.gather(running, queued, after)
        await world.repository.drained()

        assert [answer.version for answer in answers] == ["1", "1", "2"]
        assert old.is_closed
        assert not new.is_closed
        world.close()

    asyncio.run(story())


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_place() -> None:
    async def story() -> None:
        old = open_gate()
        world = World(["m"], of({1: old, 2: InvalidInput("it is broken")}))
        await world.repository.apply([wanted("m", 1)])

        await world.repository.apply([wanted("m", 2)])

        assert (await world.ask("m", x=ONE)).version == "1"
        assert (await world.ask("m", 1, x=ONE)).version == "1"
        assert world.engine.view("m").stages == ("production",)
        assert world.repository.is_settled
        assert world.repository.holds("m", "production", 1)
        assert not world.repository.holds("m", "production", 2)
        assert not world.repository.holds("n", "production", 2)
        with pytest.raises(Unavailable, match="m:2 is not ready: it is broken"):
            world.ask("m", 2, x=ONE)
        assert events(world, "failed") == [("m", 2)]
        assert [(line.version, line.state, line.reason) for line in world.engine.models()] == [
            ("1", ModelState.READY, ""),
            ("2", ModelState.UNAVAILABLE, "it is broken"),
        ]
        world.close()

    asyncio.run(story())


def test_a_broken_version_is_tried_again_only_when_it_is_moved_again() -> None:
    async def story() -> None:
        made: dict[int, GatedModel | Exception] = {1: open_gate(), 2: InvalidInput("broken")}
        world = World(["m"], of(made))
        await world.repository.apply([wanted("m", 1)])
        for _ in range(3):
            await world.repository.apply([wanted("m", 2, generation=2)])
        assert events(world, "failed") == [("m", 2)]
        assert not world.repository.is_retry_due(1e12)

        made[2] = open_gate()
        await world.repository.apply([wanted("m", 2, generation=3)])

        assert (await world.ask("m", x=ONE)).version == "2"
        assert world.repository.failures == []
        world.close()

    asyncio.run(story())


def test_what_is_out_of_reach_is_tried_again_after_a_growing_while() -> None:
    async def story() -> None:
        world = World(["m"], of({2: Unavailable("the store is away")}))
        now_s = asyncio.get_running_loop().time()

        await world.repository.apply([wanted("m", 2)])

        (failure,) = world.repository.failures
        assert not world.repository.is_retry_due(now_s)
        assert world.repository.is_retry_due(now_s + 30)
        assert failure.retry_at_s == pytest.approx(now_s + 1.0, abs=0.9)
        assert not failure.is_due(wanted("m", 2), now_s)
        assert failure.is_due(wanted("m", 2), now_s + 30)
        assert not world.repository.is_settled
        with pytest.raises(Unavailable, match="the store is away"):
            world.ask("m", x=ONE)
        world.close()

    asyncio.run(story())


def test_a_bug_in_loading_is_a_failure_with_no_word_of_it_outside() -> None:
    async def story() -> None:
        world = World(["m"], of({1: ZeroDivisionError("secret")}))

        await world.repository.apply([wanted("m", 1)])

        assert world.repository.failures[0].reason == "it broke the loader; see the log"
        world.close()

    asyncio.run(story())


def test_every_version_that_holds_a_stage_can_be_asked_for() -> None:
    async def story() -> None:
        made = {version: open_gate() for version in (1, 2, 3)}
        world = World(["m"], of(dict(made)))

        await world.repository.apply(
            [wanted("m", 1), wanted("m", 2, "challenger", "shadow"), wanted("m", 3, "staging")]
        )

        for version in (1, 2, 3):
            assert (await world.ask("m", version, x=ONE)).version == str(version)
        assert world.engine.view("m").versions == ("1", "2", "3")
        assert world.engine.view("m", 2).stages == ("challenger", "shadow")
        with pytest.raises(NotFound, match=r"version 4 of 'm' is not loaded \(loaded: 1, 2, 3\)"):
            world.ask("m", 4, x=ONE)
        await world.repository.apply([wanted("m", 1), wanted("m", 3, "staging")])
        with pytest.raises(NotFound):
            world.ask("m", 2, x=ONE)
        assert made[2].is_closed
        world.close()

    asyncio.run(story())


def test_a_version_that_moves_stage_is_not_loaded_again() -> None:
    async def story() -> None:
        world = World(["m"], of({1: open_gate(), 2: open_gate()}))
        await world.repository.apply([wanted("m", 1), wanted("m", 2, "challenger")])

        await world.repository.apply([wanted("m", 2, "challenger", "production")])

        assert events(world, "loaded") == [("m", 1), ("m", 2)]
        assert world.engine.view("m").stages == ("challenger", "production")
        world.close()

    asyncio.run(story())


def test_a_withdrawn_model_is_not_ready() -> None:
    async def story() -> None:
        world = World(["m"], of({1: open_gate()}))
        await world.repository.apply([wanted("m", 1)])

        await world.repository.apply([])

        assert not world.repository.is_settled
        assert events(world, "withdrawn") == [("m", None)]
        with pytest.raises(Unavailable, match="has no version in production yet") as caught:
            world.ask("m", x=ONE)
        assert caught.value.hint == "mlserve promote m:VERSION --to production"
        assert [(line.version, line.state) for line in world.engine.models()] == [(None, ModelState.UNAVAILABLE)]
        world.close()

    asyncio.run(story())


def test_while_a_version_loads_others_answer_and_it_says_that_it_is_loading() -> None:
    async def story() -> None:
        may_load = threading.Event()
        made = {1: open_gate(), 2: open_gate()}

        def load(one: Wanted) -> Loaded:
            if one.version == 2:
                assert may_load.wait(60.0)
            return gated(made[one.version], name=one.name, version=one.version)

        world = World(["m", "n"], load)
        await world.repository.apply([wanted("m", 1)])
        swapping = asyncio.create_task(world.repository.apply([wanted("m", 2), wanted("n", 2)]))
        while not any(line.state is ModelState.LOADING for line in world.engine.models()):
            await asyncio.sleep(0)

        assert (await world.ask("m", x=ONE)).version == "1"
        with pytest.raises(Unavailable, match="m:2 is still loading"):
            world.ask("m", 2, x=ONE)
        may_load.set()
        await swapping
        assert (await world.ask("m", x=ONE)).version == "2"
        world.close()

    asyncio.run(story())


def test_the_first_version_of_a_name_is_waited_for() -> None:
    async def story() -> None:
        may_load = threading.Event()

        def load(one: Wanted) -> Loaded:
            assert may_load.wait(60.0)
            return gated(open_gate(), name=one.name)

        world = World(["m"], load)
        loading = asyncio.create_task(world.repository.apply([wanted("m", 1)]))
        await asyncio.sleep(0)

        with pytest.raises(Unavailable, match="model 'm' is still loading"):
            world.ask("m", x=ONE)
        may_load.set()
        await loading
        assert [loaded.version for loaded in world.repository.in_production()] == [1]
        world.close()

    asyncio.run(story())


def test_an_unknown_name_is_not_found_and_the_nearest_is_named() -> None:
    async def story() -> None:
        world = World(["fraud"], of({1: open_gate()}))

        with pytest.raises(NotFound) as caught:
            world.ask("fruad", x=ONE)
        assert caught.value.hint == "did you mean 'fraud'?"
        world.close()

    asyncio.run(story())


def test_nothing_to_drain_is_drained() -> None:
    async def story() -> None:
        await Repository([], of({}), on_event=lambda event: None).drained()

    asyncio.run(story())
