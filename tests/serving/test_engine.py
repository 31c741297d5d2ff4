"""The engine: one tick one batch, lanes, deadlines, and what goes wrong for one request only."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
import pytest

from mlserve.core.slo import Slo
from mlserve.errors import DeadlineExceeded, InvalidInput, NotFound, Overloaded
from mlserve.serving.seam import Engine, ModelState
from tests import models
from tests.serving.engines import (
    IN_LANES,
    INLINE,
    GatedModel,
    World,
    arrays,
    gated,
    gated_world,
    rows,
    started,
    wanted,
    world_of,
)

ONE = np.ones((1, 1), np.float32)


def column(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)[:, None]


def test_requests_of_one_tick_share_a_run() -> None:
    async def story() -> None:
        world = await world_of()
        futures = [world.ask("m", x=rows(1 + number % 3, seed=number)) for number in range(10)]
        answers = await asyncio.gather(*futures)

        assert len({id(answer.batch) for answer in answers}) == 1
        assert [answer.outputs[0].shape[0] for answer in answers] == [1 + number % 3 for number in range(10)]
        world.close()

    asyncio.run(story())


def test_nothing_is_delivered_from_within_infer() -> None:
    async def story() -> None:
        world = await world_of()
        future = world.ask("m", x=rows(1))

        assert not future.done()
        await future
        world.close()

    asyncio.run(story())


def test_a_deep_queue_is_given_in_runs_of_the_useful_size() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE, max_rows=4)

        await asyncio.gather(*[world.ask("m", x=ONE) for _ in range(10)])

        assert model.runs == [4, 4, 2]
        world.close()

    asyncio.run(story())


def test_idle_lanes_take_equal_shares_and_the_rest_waits_for_them() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=2, max_rows=8)
        first = [world.ask("m", x=ONE) for _ in range(5)]
        await started(model, 2)
        second = [world.ask("m", x=ONE) for _ in range(4)]

        assert sorted(model.runs) == [2, 3]
        model.gate.set()
        await asyncio.gather(*first, *second)

        assert sum(model.runs) == 9
        assert world.engine.is_idle
        world.close()

    asyncio.run(story())


def test_a_version_has_no_more_runs_at_a_time_than_it_was_tuned_for() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=2, max_rows=8)
        world.repository.find("m", None).lanes = 1
        first = [world.ask("m", x=ONE) for _ in range(5)]
        await started(model, 1)
        second = [world.ask("m", x=ONE) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert model.runs == [5]
        assert world.lanes.idle == 1
        model.gate.set()
        await asyncio.gather(*first, *second)

        assert model.runs == [5, 4]
        assert world.engine.is_idle
        world.close()

    asyncio.run(story())


def test_a_model_that_is_not_batchable_runs_one_request_a_time() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE, batchable=False)

        answers = await asyncio.gather(*[world.ask("m", x=column(*range(count))) for count in (1, 1, 3)])

        assert model.runs == [1, 1, 3]
        assert [answer.outputs[0].shape for answer in answers] == [(1, 1), (1, 1), (3, 1)]
        world.close()

    asyncio.run(story())


def test_a_request_of_very_many_rows_is_run_in_pieces_off_the_loop_and_answered_whole() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, INLINE, max_rows=4)
        large = world.ask("m", x=column(*range(10)))
        await started(model)
        small = world.ask("m", x=ONE)
        model.gate.set()

        assert arrays(await large)["y"].ravel().tolist() == list(range(10))
        assert arrays(await small)["y"].ravel().tolist() == [1.0]
        assert sorted(model.runs) == [1, 3, 3, 4]
        world.close()

    asyncio.run(story())


def test_one_bad_request_is_refused_and_its_neighbours_are_answered() -> None:
    async def story() -> None:
        model = GatedModel(refused={13.0: InvalidInput("13 is refused")})
        model.gate.set()
        world = await gated_world(model, INLINE)

        futures = [world.ask("m", x=column(value)) for value in (1.0, 13.0, 2.0, 3.0)]
        answers = await asyncio.gather(*futures, return_exceptions=True)

        assert isinstance(answers[1], InvalidInput)
        assert [arrays(answer)["y"].item() for answer in answers if not isinstance(answer, BaseException)] == [1, 2, 3]
        world.close()

    asyncio.run(story())


def test_values_that_do_not_fit_their_type_fail_their_request_alone() -> None:
    async def story() -> None:
        world = await world_of(models.echo(models.DType.INT8, ("batch", 1)))
        good = world.ask("m", x=np.array([[1]], np.int8), as_lists=True)
        bad = world.ask("m", x=np.array([[1]], np.int8), as_lists=True)
        world.ticket.request.inputs[0].values = [300]

        assert arrays(await good)["y"].tolist() == [[1]]
        with pytest.raises(InvalidInput, match="out of range"):
            await bad
        world.close()

    asyncio.run(story())


def test_a_bug_reaches_the_sender_as_it_is() -> None:
    async def story() -> None:
        model = GatedModel(refused={13.0: ZeroDivisionError()})
        model.gate.set()
        world = await gated_world(model)

        with pytest.raises(ZeroDivisionError):
            await world.ask("m", x=column(13.0))
        assert arrays(await world.ask("m", x=ONE))["y"].item() == 1.0
        world.close()

    asyncio.run(story())


def test_a_deadline_that_passes_while_waiting_takes_no_room() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1)
        running = world.ask("m", x=ONE)
        await started(model)
        late = world.ask("m", x=ONE, deadline_s=asyncio.get_running_loop().time() - 1.0)
        patient = world.ask("m", x=ONE, deadline_s=asyncio.get_running_loop().time() + 600.0)

        with pytest.raises(DeadlineExceeded):
            await late
        model.gate.set()
        await asyncio.gather(running, patient)

        assert model.runs == [1, 1]
        world.close()

    asyncio.run(story())


def test_a_deadline_that_passed_before_the_tick_is_over_is_kept() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE)

        late = world.ask("m", x=ONE, deadline_s=asyncio.get_running_loop().time() - 1.0)

        with pytest.raises(DeadlineExceeded):
            await late
        assert model.runs == []
        world.close()

    asyncio.run(story())


def test_a_deadline_that_passes_in_a_lane_is_answered_at_once() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1)
        late = world.ask("m", x=ONE, deadline_s=asyncio.get_running_loop().time() + 0.01)
        await started(model)

        with pytest.raises(DeadlineExceeded):
            await late
        model.gate.set()
        await world.ask("m", x=ONE)
        world.close()

    asyncio.run(story())


def test_a_cancelled_request_is_neither_run_nor_answered() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE)
        cancelled = world.ask("m", x=ONE)
        world.ticket.cancel()
        kept = world.ask("m", x=ONE)

        await kept

        assert not cancelled.done()
        assert model.runs == [1]
        assert world.engine.is_idle
        world.close()

    asyncio.run(story())


def test_a_version_whose_last_requests_are_cancelled_is_let_go() -> None:
    async def story() -> None:
        model, new = GatedModel(), GatedModel()
        new.gate.set()
        made = {1: model, 2: new}
        world = World(["m"], lambda one: gated(made[one.version], version=one.version), lanes=1)
        await world.repository.apply([wanted("m", 1)])
        running = world.ask("m", x=ONE)
        await started(model)
        cancelled = world.ask("m", x=ONE, deadline_s=asyncio.get_running_loop().time() + 600.0)
        world.ticket.cancel()
        await world.repository.apply([wanted("m", 2)])
        model.gate.set()

        await running
        await world.repository.drained()

        assert model.is_closed
        assert model.runs == [1]
        assert not cancelled.done()
        world.close()

    asyncio.run(story())


def test_a_full_queue_refuses_and_says_so() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, max_queue_rows=3)
        running = world.ask("m", x=ONE)
        await started(model)
        queued = world.ask("m", x=column(1, 2, 3))

        with pytest.raises(Overloaded, match="3 rows wait for 'm', and at most 3 may"):
            world.ask("m", x=ONE)
        model.gate.set()
        await asyncio.gather(running, queued)
        await world.ask("m", x=column(*range(10)))
        world.close()

    asyncio.run(story())


def test_requests_that_gave_up_take_no_room_in_the_queue() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, max_queue_rows=3)
        loop = asyncio.get_running_loop()
        running = world.ask("m", x=ONE)
        await started(model)
        late = [world.ask("m", x=ONE, deadline_s=loop.time() - 1.0) for _ in range(2)]
        world.ask("m", x=ONE)
        world.ticket.cancel()
        for one in late:
            with pytest.raises(DeadlineExceeded):
                await one

        queued = world.ask("m", x=column(1, 2, 3))
        with pytest.raises(Overloaded, match="3 rows wait for 'm'"):
            world.ask("m", x=ONE)
        model.gate.set()
        await asyncio.gather(running, queued)

        assert model.runs == [1, 3]
        world.close()

    asyncio.run(story())


def test_a_hold_gathers_later_ticks_and_ends_with_a_full_batch() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, lanes=1, max_rows=2, max_delay_s=600.0)
        first = world.ask("m", x=ONE)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not first.done()
        second = world.ask("m", x=ONE)

        await asyncio.gather(first, second)

        assert model.runs == [2]
        world.close()

    asyncio.run(story())


def test_a_version_that_was_tuned_is_held_for_its_own_delay() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, lanes=1, max_rows=2)
        world.repository.find("m", None).max_delay_s = 600.0
        first = world.ask("m", x=ONE)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not first.done()
        second = world.ask("m", x=ONE)

        await asyncio.gather(first, second)

        assert model.runs == [2]
        world.close()

    asyncio.run(story())


def test_a_hold_ends_with_its_delay() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE, max_rows=8, max_delay_s=0.005)

        await world.ask("m", x=ONE)
        cancelled = world.ask("m", x=ONE)
        world.ticket.cancel()
        await world.ask("m", x=ONE)

        assert model.runs == [1, 1]
        assert not cancelled.done()
        world.close()

    asyncio.run(story())


def test_long_runs_move_a_version_off_the_loop_and_rare_ones_do_not() -> None:
    loaded = gated(GatedModel(), INLINE)
    for _ in range(100):
        loaded.note_inline_run(1.0)
        for _ in range(8):
            loaded.note_inline_run(1e-5)
        assert loaded.is_inline

    for _ in range(8):
        loaded.note_inline_run(1.0)

    assert not loaded.is_inline


def test_an_answer_that_cannot_be_delivered_does_not_keep_others_from_theirs(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        world = await world_of()
        broken = world.ask("m", x=rows(1))
        world.ticket.deliver = lambda answer: 1 // 0
        with caplog.at_level(logging.ERROR):
            await world.ask("m", x=rows(1))

        assert not broken.done()
        assert "could not be delivered" in caplog.text
        world.close()

    asyncio.run(story())


def test_only_the_outputs_asked_for_are_answered_in_the_order_asked() -> None:
    async def story() -> None:
        world = await world_of(models.labelled_classifier())
        both, one, every, none = await asyncio.gather(
            world.ask("m", x=rows(2), outputs=("probabilities", "label")),
            world.ask("m", x=rows(2), outputs=("label",)),
            world.ask("m", x=rows(2)),
            world.ask("m", x=rows(2), outputs=()),
        )
        alone = await world.ask("m", x=rows(2), outputs=("probabilities",))

        assert [output.name for output in both.outputs] == ["probabilities", "label"]
        assert [output.name for output in one.outputs] == ["label"]
        assert [output.name for output in every.outputs] == ["label", "probabilities"]
        assert [output.name for output in none.outputs] == ["label", "probabilities"]
        assert list(alone.batch.arrays) == ["probabilities"]
        with pytest.raises(InvalidInput, match="no output 'labl'"):
            world.ask("m", x=rows(2), outputs=("labl",))
        world.close()

    asyncio.run(story())


def test_models_share_the_lanes_and_none_waits_for_another_to_end() -> None:
    async def story() -> None:
        slow, quick = GatedModel(), GatedModel()
        quick.gate.set()
        made = {"slow": slow, "quick": quick}
        world = World(["slow", "quick"], lambda one: gated(made[one.name], IN_LANES, name=one.name), lanes=2)
        await world.repository.apply([wanted("slow"), wanted("quick")])
        first = world.ask("slow", x=ONE)
        await started(slow)

        await asyncio.gather(*[world.ask("quick", x=ONE) for _ in range(5)])

        assert not first.done()
        slow.gate.set()
        await first
        world.close()

    asyncio.run(story())


def test_what_is_asked_about_models_is_answered() -> None:
    async def story() -> None:
        world = await world_of()
        engine: Engine = world.engine

        assert engine.is_live()
        assert engine.is_ready()
        assert engine.is_ready("m")
        assert engine.is_ready("m", 1)
        view = engine.view("m")
        assert (view.name, view.version, view.versions, view.stages) == ("m", "1", ("1",), ("production",))
        assert (view.is_batchable, view.state, view.digest) == (True, ModelState.READY, "d1")
        assert [(status.name, status.version) for status in engine.models()] == [("m", "1")]
        for name, version in (("n", None), ("m", 2)):
            with pytest.raises(NotFound):
                engine.is_ready(name, version)
            with pytest.raises(NotFound):
                world.ask(name, version, x=rows(1))
        world.engine.begin_drain()
        assert not engine.is_ready()
        await world.ask("m", x=rows(1))
        world.close()

    asyncio.run(story())


def test_a_name_without_a_version_is_known_and_not_ready() -> None:
    async def story() -> None:
        world = World(["m"], lambda one: gated(GatedModel()))
        await world.repository.apply([])

        assert not world.engine.is_ready()
        assert not world.engine.is_ready("m")
        world.close()

    asyncio.run(story())


def test_the_more_urgent_go_first_and_share_batches_with_the_others() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, max_rows=2)
        first = world.ask("m", x=column(0))
        await started(model)
        asked = [world.ask("m", x=column(value), priority=level) for value, level in ((1, 0), (2, 9), (3, 1), (4, 5))]
        model.gate.set()
        await asyncio.gather(first, *asked)

        assert model.values == [[0], [3, 1], [4, 2]]
        world.close()

    asyncio.run(story())


def test_the_last_part_of_a_full_queue_is_for_the_urgent() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, max_queue_rows=4)
        asked = [world.ask("m", x=ONE)]
        await started(model)
        asked += [world.ask("m", x=ONE) for _ in range(4)]

        with pytest.raises(Overloaded) as refusal:
            world.ask("m", x=ONE, priority=5)
        assert refusal.value.retry_after_s is not None
        assert refusal.value.retry_after_s > 0
        asked.append(world.ask("m", x=ONE, priority=4))
        with pytest.raises(Overloaded):
            world.ask("m", x=ONE, priority=4)
        assert world.engine.statistics("m")[0].rejected == {"queue_full": 2}
        model.gate.set()
        await asyncio.gather(*asked)
        world.close()

    asyncio.run(story())


def test_batches_are_cut_to_a_preferred_size_where_one_fits() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, INLINE, max_rows=16, preferred_rows=(4, 8))

        await asyncio.gather(*[world.ask("m", x=ONE) for _ in range(15)])

        assert model.runs == [8, 4, 3]
        world.close()

    asyncio.run(story())


def test_a_request_without_a_limit_of_its_own_has_that_of_the_server() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, timeout_s=0.01)
        patient = world.ask("m", x=ONE, deadline_s=asyncio.get_running_loop().time() + 600.0)
        await started(model)

        with pytest.raises(DeadlineExceeded):
            await world.ask("m", x=ONE)
        model.gate.set()
        await patient
        counted = world.engine.statistics("m")[0]
        assert (counted.fail.count, counted.rejected) == (1, {"expired": 1})
        world.close()

    asyncio.run(story())


def test_versions_that_wait_for_lanes_are_given_them_in_turn() -> None:
    async def story() -> None:
        order: list[str] = []
        made = {}
        for name in ("a", "b", "c"):
            made[name] = GatedModel()
            made[name].gate.set()
        busy = GatedModel()
        made["busy"] = busy
        names = list(made)
        world = World(names, lambda one: gated(made[one.name], IN_LANES, name=one.name, max_rows=1), lanes=1)
        await world.repository.apply([wanted(name) for name in names])
        first = world.ask("busy", x=ONE)
        await started(busy)
        futures = []
        for name, count in (("a", 6), ("b", 2), ("c", 3)):
            for _ in range(count):
                future = world.ask(name, x=ONE)
                future.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
                futures.append(future)
        busy.gate.set()
        await asyncio.gather(first, *futures)
        await asyncio.sleep(0)

        assert "".join(order) == "abcabcacaaa"
        world.close()

    asyncio.run(story())


def test_lanes_that_are_idle_at_once_go_to_different_versions() -> None:
    async def story() -> None:
        deep, shallow = GatedModel(), GatedModel()
        made = {"deep": deep, "shallow": shallow}
        world = World(
            ["deep", "shallow"], lambda one: gated(made[one.name], IN_LANES, name=one.name, max_rows=8), lanes=2
        )
        await world.repository.apply([wanted("deep"), wanted("shallow")])
        futures = [world.ask("deep", x=ONE) for _ in range(8)] + [world.ask("shallow", x=ONE) for _ in range(2)]
        await started(deep)
        await started(shallow)

        assert (deep.runs, shallow.runs) == ([8], [2])
        deep.gate.set()
        shallow.gate.set()
        await asyncio.gather(*futures)
        world.close()

    asyncio.run(story())


def test_what_would_miss_the_objective_is_refused_at_once_and_told_when_to_come_back() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, lanes=1, max_rows=4, slo=Slo(99.0, 20e-3))
        running = world.ask("m", x=column(1, 2, 3, 4))  # 8 ms by the costs
        await started(model)
        queued = world.ask("m", x=column(1, 2, 3, 4))

        with pytest.raises(Overloaded, match="'m' would not answer within 20 ms: 4 rows go first") as refusal:
            world.ask("m", x=ONE)
        assert refusal.value.retry_after_s is not None
        assert 0 < refusal.value.retry_after_s < 0.1
        assert world.engine.statistics("m")[0].rejected == {"slo": 1}
        model.gate.set()
        await asyncio.gather(running, queued)
        await world.ask("m", x=ONE)
        assert world.engine.is_idle
        world.close()

    asyncio.run(story())


def test_with_an_objective_the_sooner_deadline_goes_first_and_one_that_cannot_be_kept_is_refused() -> None:
    async def story() -> None:
        model, loop = GatedModel(), asyncio.get_running_loop()
        world = await gated_world(model, lanes=1, max_rows=1, slo=Slo(99.0, 600.0))
        first = world.ask("m", x=column(0))
        await started(model)
        later, sooner = world.ask("m", x=column(1)), world.ask("m", x=column(2), deadline_s=loop.time() + 300.0)
        with pytest.raises(Overloaded):
            world.ask("m", x=column(3), deadline_s=loop.time() + 1e-3)
        model.gate.set()
        await asyncio.gather(first, later, sooner)

        assert model.values == [[0], [2], [1]]
        world.close()

    asyncio.run(story())


def test_a_server_that_is_idle_takes_what_it_thinks_it_cannot_do_in_time() -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, lanes=1, max_rows=4, slo=Slo(99.0, 1e-6))

        assert arrays(await world.ask("m", x=column(1, 2)))["y"].shape == (2, 1)
        world.close()

    asyncio.run(story())
