"""The response cache and single flight: what is shared, what never is, and who is answered when something ends."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import DeadlineExceeded, InvalidInput
from mlserve.serving.caching import Sharing, key_of
from mlserve.serving.seam import InferRequest, InputTensor
from tests import models
from tests.serving.engines import (
    IN_LANES,
    INLINE,
    GatedModel,
    World,
    arrays,
    gated,
    gated_world,
    started,
    wanted,
    world_of,
)

ONE = np.ones((1, 1), np.float32)
CACHE = {"cache_bytes": 1 << 20, "is_single_flight": False}
FLIGHT = {"is_single_flight": True}


def column(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)[:, None]


def sharing_of(world: World) -> Sharing:
    sharing = world.engine._sharing
    assert sharing is not None
    return sharing


def request(array: np.ndarray[Any, Any], dtype: DType, name: str = "x", outputs: Any = None) -> InferRequest:
    return InferRequest("m", None, [InputTensor(name, dtype, array.shape, array)], outputs)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request(np.zeros((4, 2), np.float32), DType.FLOAT32), id="shape"),
        pytest.param(request(np.zeros((2, 4), np.int32), DType.INT32), id="type of the same bytes"),
        pytest.param(request(np.zeros((2, 4), np.float32), DType.FLOAT32, "z"), id="input's name"),
        pytest.param(request(np.zeros((2, 4), np.float32), DType.FLOAT32, outputs=("y",)), id="outputs"),
        pytest.param(request(-np.zeros((2, 4), np.float32), DType.FLOAT32), id="the sign of zero"),
        pytest.param(request(np.full((2, 4), 1e-45, np.float32), DType.FLOAT32), id="a bit"),
    ],
)
def test_requests_that_differ_in_anything_that_matters_have_different_keys(other: InferRequest) -> None:
    assert key_of(other) != key_of(request(np.zeros((2, 4), np.float32), DType.FLOAT32))


def test_bytes_are_compared_so_nan_is_itself_and_a_list_is_the_array_it_becomes() -> None:
    array = np.array([[np.nan, 1.5]], np.float32)
    as_list = InferRequest("m", None, [InputTensor("x", DType.FLOAT32, (1, 2), array.ravel().tolist())], (), 5.0, 3)

    assert key_of(request(array, DType.FLOAT32)) == key_of(request(array.copy(), DType.FLOAT32)) == key_of(as_list)


@given(
    texts=st.lists(st.text(max_size=3), min_size=2, max_size=2),
    others=st.lists(st.text(max_size=3), min_size=2, max_size=2),
)
def test_strings_have_equal_keys_only_where_every_one_is_equal(texts: list[str], others: list[str]) -> None:
    keys = [key_of(request(np.array(some, object), DType.STRING)) for some in (texts, others)]

    assert (keys[0] == keys[1]) == (texts == others)


@pytest.mark.parametrize("costs", [INLINE, IN_LANES], ids=["inline", "in lanes"])
def test_an_answer_that_is_kept_is_given_without_a_run_and_is_the_same(costs: Any) -> None:
    async def story() -> None:
        world = await world_of(models.labelled_classifier(), costs, **CACHE)
        x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
        first = await world.ask("m", x=x)
        again = world.ask("m", x=x.copy())
        assert not again.done(), "nothing is delivered from within infer"
        answer = await again
        other = await world.ask("m", x=x[:2])

        for name, array in arrays(first).items():
            assert arrays(answer)[name].tobytes() == array.tobytes()
            assert arrays(answer)[name].dtype == array.dtype
        assert (answer.model, answer.version, answer.batch.timing) == ("m", "1", None)
        assert arrays(other)["label"].shape == (2,)
        counted = world.engine.statistics("m")[0]
        assert (counted.cache_hit.count, counted.cache_miss.count) == (1, 2)
        assert (counted.success.count, counted.execution_count, counted.inference_count) == (3, 2, 5)
        world.close()

    asyncio.run(story())


def test_the_least_recently_used_go_when_the_bytes_are_spent() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE, cache_bytes=2200)
        for value in (1, 2, 1, 3, 1, 2):  # two fit: 3 puts 2 out, not 1
            await world.ask("m", x=column(value))

        assert [values for (values,) in model.values] == [1, 2, 3, 2]
        assert 0 < sharing_of(world).kept_bytes <= 2200
        await world.ask("m", x=column(*range(1000)))
        await world.ask("m", x=column(1))
        assert sum(model.runs) == 1004, "what is larger than the cache is not kept, and puts nobody out"
        world.close()

    asyncio.run(story())


def test_a_version_takes_what_was_kept_of_it_along() -> None:
    async def story() -> None:
        made = {1: GatedModel(), 2: GatedModel()}
        for model in made.values():
            model.gate.set()
        world = World(["m"], lambda one: gated(made[one.version], INLINE, version=one.version), **CACHE)
        await world.repository.apply([wanted("m", 1)])
        await world.ask("m", x=ONE)
        kept_bytes = sharing_of(world).kept_bytes
        await world.repository.apply([wanted("m", 2)])
        gc.collect()

        assert kept_bytes > 0
        assert sharing_of(world).kept_bytes == 0
        assert (await world.ask("m", x=ONE)).version == "2"
        assert made[2].runs == [1]
        world.close()

    asyncio.run(story())


def test_errors_are_not_kept() -> None:
    async def story() -> None:
        model = GatedModel(refused={13.0: InvalidInput("13 is refused")})
        model.gate.set()
        world = await gated_world(model, INLINE, cache_bytes=1 << 20, is_single_flight=True)
        for _ in range(2):
            with pytest.raises(InvalidInput):
                await world.ask("m", x=column(13))

        assert model.runs == [1, 1]
        world.close()

    asyncio.run(story())


def test_equal_requests_in_flight_share_a_row_and_each_is_answered() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, **FLIGHT)
        first = world.ask("m", x=ONE)
        await started(model)
        others = [world.ask("m", x=ONE) for _ in range(5)]
        different = world.ask("m", x=2 * ONE)
        model.gate.set()
        answers = await asyncio.gather(first, *others, different)
        await asyncio.sleep(0)

        assert model.values == [[1], [2]]
        assert [arrays(answer)["y"].item() for answer in answers] == [1] * 6 + [2]
        assert len({id(answer) for answer in answers}) == 7
        assert world.engine.statistics("m")[0].success.count == 7
        await world.ask("m", x=ONE)
        assert model.values == [[1], [2], [1]], "what has landed is not joined"
        world.close()

    asyncio.run(story())


@pytest.mark.parametrize("who", [0, 1, 2])
def test_one_that_gives_up_leaves_the_others_their_answer(who: int) -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, **FLIGHT)
        busy = world.ask("m", x=column(9))
        await started(model)
        futures, tickets = [], []
        for _ in range(3):
            futures.append(world.ask("m", x=ONE))
            tickets.append(world.ticket)
        tickets[who].cancel()
        model.gate.set()
        await asyncio.gather(busy, *[future for number, future in enumerate(futures) if number != who])

        assert not futures[who].done()
        assert model.values == [[9], [1]]
        world.close()

    asyncio.run(story())


def test_a_flight_that_all_have_left_is_not_run() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, **FLIGHT)
        busy = world.ask("m", x=column(9))
        await started(model)
        for _ in range(3):
            world.ask("m", x=ONE)
            world.ticket.cancel()
            world.ticket.cancel()
        model.gate.set()
        await busy
        await world.ask("m", x=column(8))

        assert model.values == [[9], [8]]
        assert world.engine.is_idle
        world.close()

    asyncio.run(story())


def test_a_failure_fails_all_that_wait_for_it_with_the_same_error() -> None:
    async def story() -> None:
        model = GatedModel(refused={13.0: InvalidInput("13 is refused")})
        model.gate.set()
        world = await gated_world(model, **FLIGHT)
        results = await asyncio.gather(*[world.ask("m", x=column(13)) for _ in range(3)], return_exceptions=True)
        await asyncio.sleep(0)

        assert [str(result) for result in results] == ["13 is refused"] * 3
        assert model.runs == [1]
        assert world.engine.statistics("m")[0].fail.count == 3
        world.close()

    asyncio.run(story())


def test_a_deadline_is_each_ones_own() -> None:
    async def story() -> None:
        model, loop = GatedModel(), asyncio.get_running_loop()
        world = await gated_world(model, lanes=1, **FLIGHT)
        late = world.ask("m", x=ONE, deadline_s=loop.time() + 0.01)
        await started(model)
        patient = world.ask("m", x=ONE, deadline_s=loop.time() + 600.0)
        with pytest.raises(DeadlineExceeded):
            await late
        model.gate.set()

        assert arrays(await patient)["y"].item() == 1.0
        assert model.runs == [1]
        world.close()

    asyncio.run(story())


def test_a_model_that_draws_random_numbers_is_asked_every_time() -> None:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("RandomUniformLike", ["x"], ["noise"]),
            onnx.helper.make_node("Add", ["x", "noise"], ["y"]),
        ],
        "g",
        [value("x", 1, ["n", 4])],
        [value("y", 1, ["n", 4])],
    )
    proto = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])

    async def story() -> None:
        world = await world_of(proto, cache_bytes=1 << 20, is_single_flight=True)
        x = np.zeros((1, 4), np.float32)
        answers = await asyncio.gather(*[world.ask("m", x=x) for _ in range(2)], world.ask("m", x=x))

        assert len({arrays(answer)["y"].tobytes() for answer in answers}) == 3
        assert world.engine.statistics("m")[0].cache_miss.count == 0
        world.close()

    asyncio.run(story())


def test_large_requests_are_shared_whole() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, max_rows=4, cache_bytes=1 << 20, is_single_flight=True)
        x = column(*range(10))
        for answer in await asyncio.gather(*[world.ask("m", x=x) for _ in range(3)]):
            assert arrays(answer)["y"].ravel().tolist() == list(range(10))
        assert arrays(await world.ask("m", x=x))["y"].ravel().tolist() == list(range(10))

        assert sum(model.runs) == 10
        world.close()

    asyncio.run(story())
