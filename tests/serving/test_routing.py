"""Champion and challenger: who answers whom, and that a challenger never harms anybody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlserve.core.assignment import arm_of, salt_of
from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, NotFound, Unavailable
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.loading import Wanted
from mlserve.serving.routing import key_in
from mlserve.serving.seam import Answer, InferRequest, InputTensor
from tests.serving.engines import INLINE, GatedModel, World, gated, tensor, wanted

ONE = np.ones((1, 1), np.float32)
KEYS = [f"user-{number}" for number in range(200)]


def split(share: float, challenger: int = 2, *, generation: int = 1) -> list[Wanted]:
    return [
        wanted("m", 1),
        replace(wanted("m", challenger, "challenger", generation=generation), traffic=share),
    ]


def models(refused: dict[int, dict[float, Exception]] | None = None) -> Callable[[Wanted], Loaded]:
    def load(one: Wanted) -> Loaded:
        model = GatedModel((refused or {}).get(one.version))
        model.gate.set()
        return gated(model, INLINE, name=one.name, version=one.version)

    return load


async def answers(world: World, keys: Sequence[str | None], value: Any = ONE, name: str = "m") -> list[Answer]:
    futures = []
    for key in keys:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def deliver(answer: Answer | Exception, future: asyncio.Future[Answer] = future) -> None:
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        world.engine.infer(InferRequest(name, None, [tensor("x", value)], unit_key=key), deliver)
        futures.append(future)
    return list(await asyncio.gather(*futures))


def test_each_key_is_answered_by_its_arm_and_keeps_it() -> None:
    async def story() -> None:
        world = World(["m"], models())
        await world.repository.apply(split(0.3))

        for _ in range(2):
            found = [answer.version for answer in await answers(world, KEYS)]
            assert found == [str(1 + arm_of(key, salt_of("m", 2), [0.3])) for key in KEYS]
        world.close()

    asyncio.run(story())


def test_a_ramp_keeps_whoever_is_with_the_challenger() -> None:
    async def story() -> None:
        world = World(["m"], models())
        before: set[str] = set()
        for generation, share in enumerate((0.05, 0.2, 0.6), 1):
            await world.repository.apply(split(share, generation=generation))
            found = {key for key, answer in zip(KEYS, await answers(world, KEYS), strict=True) if answer.version == "2"}
            assert before < found
            before = found
        world.close()

    asyncio.run(story())


def test_requests_without_a_key_are_dealt_out_by_share() -> None:
    async def story() -> None:
        world = World(["m"], models())
        await world.repository.apply(split(0.25))

        found = Counter(answer.version for answer in await answers(world, [None] * 800))

        assert 150 < found["2"] < 250
        assert found["1"] + found["2"] == 800
        world.close()

    asyncio.run(story())


def test_an_input_can_be_the_key() -> None:
    async def story() -> None:
        world = World(["m"], models(), repository={"key_input": "x"})
        await world.repository.apply(split(0.5))

        for value in range(40):
            (answer,) = await answers(world, [None], np.full((1, 1), value, np.float32))
            assert answer.version == str(1 + arm_of(str(float(value)), salt_of("m", 2), [0.5]))
        (answer,) = await answers(world, [KEYS[0]])
        assert answer.version == str(1 + arm_of(KEYS[0], salt_of("m", 2), [0.5]))
        world.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("values", "key"),
    [
        pytest.param(np.array([[7, 8]], np.int64), "7", id="an integer"),
        pytest.param(np.array([0.5], np.float32), "0.5", id="a float"),
        pytest.param(np.array(["ann", "bob"], object), "ann", id="a text"),
        pytest.param(np.array([b"ann"], object), "ann", id="bytes"),
        pytest.param([7, 8], "7", id="a list"),
        pytest.param(np.empty((0, 2), np.float32), None, id="no rows"),
        pytest.param([], None, id="an empty list"),
    ],
)
def test_the_key_in_a_tensor_is_its_first_element(values: Any, key: str | None) -> None:
    request = InferRequest("m", None, [InputTensor("k", DType.INT64, (1,), values)])

    assert key_in(request, "k") == key
    assert key_in(request, "other") is None


def test_a_version_or_a_stage_that_is_named_is_never_split() -> None:
    async def story() -> None:
        world = World(["m"], models())
        await world.repository.apply(split(1.0))

        assert (await world.ask("m", x=ONE)).version == "2"
        assert (await world.ask("m", 1, x=ONE)).version == "1"
        assert world.engine.view("m@challenger").version == "2"
        assert world.engine.view("m@production").version == "1"
        assert world.engine.is_ready("m@challenger")
        with pytest.raises(NotFound, match="no version of 'm' is in 'shadow'") as caught:
            world.engine.view("m@shadow")
        assert caught.value.hint == "mlserve promote m:VERSION --to shadow"
        with pytest.raises(NotFound, match="is in 'challanger'") as caught:
            world.engine.view("m@challanger")
        assert caught.value.hint == "did you mean 'challenger'?"
        with pytest.raises(NotFound, match="no model 'n@challenger'"):
            world.engine.view("n@challenger")
        world.close()

    asyncio.run(story())


def test_a_challenger_without_traffic_or_alone_answers_nobody() -> None:
    async def story() -> None:
        world = World(["m"], models())
        await world.repository.apply(split(0.0))
        assert {answer.version for answer in await answers(world, KEYS)} == {"1"}
        await world.repository.apply(split(1.0)[1:])
        with pytest.raises(Unavailable, match="no version in production"):
            await answers(world, KEYS[:1])
        world.close()

    asyncio.run(story())


def test_a_challenger_that_cannot_be_loaded_leaves_its_share_with_the_champion() -> None:
    async def story() -> None:
        def load(one: Wanted) -> Loaded:
            if one.version == 2:
                raise InvalidInput("broken")
            return models()(one)

        world = World(["m"], load)
        await world.repository.apply(split(1.0))

        assert {answer.version for answer in await answers(world, KEYS)} == {"1"}
        world.close()

    asyncio.run(story())


def test_what_a_challenger_fails_at_the_champion_answers_and_the_failure_is_counted() -> None:
    async def story() -> None:
        told: list[tuple[str, str]] = []

        def record(loaded: Loaded, run: Run) -> None:
            told.append((f"{loaded.name}:{loaded.version}", type(run.outcome).__name__))

        world = World(["m"], models({2: {1.0: RuntimeError("no")}}), on_answered=record)
        await world.repository.apply(split(1.0))

        assert {answer.version for answer in await answers(world, KEYS[:8])} == {"1"}

        assert told == [("m:2", "RuntimeError")] * 8 + [("m:1", "BatchOutputs")]
        assert world.engine.statistics("m@challenger") == world.engine.statistics("m", 2)
        one, two = world.engine.statistics("m")
        assert (one.success.count, one.fail.count) == (8, 0)
        assert (two.success.count, two.fail.count) == (0, 8)
        with pytest.raises(RuntimeError):
            await world.ask("m", 2, x=ONE)
        world.close()

    asyncio.run(story())


def test_what_both_refuse_is_refused() -> None:
    async def story() -> None:
        world = World(["m"], models({1: {1.0: InvalidInput("no one")}, 2: {1.0: InvalidInput("no two")}}))
        await world.repository.apply(split(1.0))

        with pytest.raises(InvalidInput, match="no one"):
            await answers(world, KEYS[:1])
        with pytest.raises(InvalidInput, match="shape"):
            await answers(world, KEYS[:1], np.ones((1, 2), np.float32))
        world.close()

    asyncio.run(story())


def test_a_full_queue_of_the_challenger_is_the_champions_to_answer() -> None:
    async def story() -> None:
        world = World(["m"], models(), max_queue_rows=4)
        await world.repository.apply(split(1.0))

        found = Counter(answer.version for answer in await answers(world, KEYS[:8]))

        assert found == {"2": 4, "1": 4}
        world.close()

    asyncio.run(story())


def test_what_follows_an_answer_is_called_once_a_run_and_harms_nobody() -> None:
    async def story() -> None:
        seen: list[tuple[str, int, str]] = []

        def record(loaded: Loaded, run: Run) -> None:
            outcome = type(run.outcome).__name__
            seen.append((f"{loaded.name}:{loaded.version}", len(run.batch), outcome))
            raise RuntimeError("the recorder is broken")

        world = World(["m"], models({1: {2.0: InvalidInput("two")}}), on_answered=record)
        await world.repository.apply([wanted("m", 1)])

        await answers(world, KEYS[:3])
        with pytest.raises(InvalidInput):
            await answers(world, KEYS[:1], ONE * 2)

        assert seen == [("m:1", 3, "BatchOutputs"), ("m:1", 1, "InvalidInput")]
        world.close()

    asyncio.run(story())


@pytest.mark.parametrize("bad_row", [0, 599])
def test_a_large_request_that_a_challenger_cannot_answer_is_answered_by_the_champion_alone(bad_row: int) -> None:
    async def story() -> None:
        load = models({2: {13.0: InvalidInput("13 is refused")}})
        world = World(["m"], load)
        await world.repository.apply(split(1.0))
        values = np.ones((600, 1), np.float32)
        values[bad_row] = 13.0

        good = await answers(world, ["a", "a"], np.ones((600, 1), np.float32))
        moved = await answers(world, ["a"], values)

        assert {answer.version for answer in good} == {"2"}
        assert [answer.version for answer in moved] == ["1"]
        assert moved[0].outputs[0].array().ravel().tolist() == values.ravel().tolist()
        assert world.engine.statistics("m", 2)[0].fail.count == 1
        assert world.engine.statistics("m", 1)[0].success.count == 1
        world.close()

    asyncio.run(story())
