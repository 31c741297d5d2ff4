"""Requests larger than a run: pieces side by side in the lanes, one answer, one failure, one cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import DeadlineExceeded, InvalidInput
from mlserve.serving.batching import RowQueue, Waiting
from mlserve.serving.seam import InferRequest, InputTensor
from mlserve.serving.splitting import Whole, rows_of
from tests.serving.engines import IN_LANES, INLINE, GatedModel, arrays, gated_world, started

ONE = np.ones((1, 1), np.float32)
both = pytest.mark.parametrize("costs", [INLINE, IN_LANES], ids=["light", "in lanes"])


def column(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)[:, None]


@given(as_list=st.booleans(), start=st.integers(0, 5), rows=st.integers(1, 5), width=st.integers(0, 3))
def test_a_part_of_a_request_has_its_rows_of_every_input(as_list: bool, start: int, rows: int, width: int) -> None:
    array = np.arange(10 * width, dtype=np.float32).reshape(10, width)
    values = array.ravel().tolist() if as_list else array
    request = InferRequest("m", 3, [InputTensor("x", DType.FLOAT32, (10, width), values)], ("y",), 5.0, 2, "u")

    part = rows_of(request, start, start + rows)

    tensor = part.inputs[0]
    assert (part.model, part.version, part.outputs, part.priority, part.unit_key) == ("m", 3, ("y",), 2, "u")
    assert tensor.shape == (rows, width)
    assert np.asarray(tensor.values).ravel().tolist() == array[start : start + rows].ravel().tolist()


@both
def test_pieces_run_side_by_side_and_later_requests_pass_the_rest_of_them(costs: Any) -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, costs, lanes=2, max_rows=2)
        large = world.ask("m", x=column(*range(20)))
        await started(model, 2)
        assert model.runs == [2, 2]
        small = world.ask("m", x=ONE)
        model.gate.set()
        await small

        assert not large.done(), "a small request is not kept by all the pieces before it"
        answer = await large
        assert arrays(answer)["y"].ravel().tolist() == list(range(20))
        assert answer.outputs[0].shape == (20, 1)
        assert world.engine.is_idle
        world.close()

    asyncio.run(story())


@both
def test_a_request_in_pieces_is_counted_once_and_its_rows_all(costs: Any) -> None:
    async def story() -> None:
        model = GatedModel()
        model.gate.set()
        world = await gated_world(model, costs, max_rows=4)
        await asyncio.gather(world.ask("m", x=column(*range(10))), world.ask("m", x=ONE))
        await asyncio.sleep(0)

        counted = world.engine.statistics("m")[0]
        assert counted.success.count == counted.queue.count == 2
        assert counted.inference_count == 11
        assert counted.histograms["request"].count == 2
        world.close()

    asyncio.run(story())


@both
def test_a_piece_that_fails_fails_its_request_alone_and_says_which_row(costs: Any) -> None:
    async def story() -> None:
        model = GatedModel(refused={13.0: InvalidInput("13 is refused")})
        model.gate.set()
        world = await gated_world(model, costs, max_rows=4)
        bad, good = world.ask("m", x=column(*range(20))), world.ask("m", x=column(*range(12)))

        with pytest.raises(InvalidInput, match=r"^row 13: 13 is refused$"):
            await bad
        assert arrays(await good)["y"].ravel().tolist() == list(range(12))
        await asyncio.sleep(0)
        counted = world.engine.statistics("m")[0]
        assert (counted.success.count, counted.fail.count, counted.waiting_rows) == (1, 1, 0)
        world.close()

    asyncio.run(story())


@both
def test_a_cancelled_request_runs_no_more_pieces(costs: Any) -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, costs, lanes=2, max_rows=2)
        large = world.ask("m", x=column(*range(100)))
        await started(model, 2)
        assert world.engine.statistics("m")[0].waiting_rows == 96
        world.ticket.cancel()
        assert world.engine.statistics("m")[0].waiting_rows == 0
        model.gate.set()
        await world.ask("m", x=ONE)

        assert sorted(model.runs) == [1, 2, 2]
        assert not large.done()
        world.close()

    asyncio.run(story())


@both
def test_a_deadline_ends_all_pieces(costs: Any) -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, costs, lanes=1, max_rows=2)
        late = world.ask("m", x=column(*range(100)), deadline_s=asyncio.get_running_loop().time() + 0.01)
        await started(model)
        with pytest.raises(DeadlineExceeded):
            await late
        model.gate.set()
        await world.ask("m", x=ONE)

        assert model.runs == [2, 1]
        assert world.engine.statistics("m")[0].rejected == {"expired": 1}
        world.close()

    asyncio.run(story())


def test_a_retired_version_answers_all_pieces_before_it_goes() -> None:
    async def story() -> None:
        model = GatedModel()
        world = await gated_world(model, INLINE, lanes=1, max_rows=2)
        large = world.ask("m", x=column(*range(9)))
        await started(model)
        world.repository.find("m", None).retire()
        model.gate.set()

        assert arrays(await large)["y"].ravel().tolist() == list(range(9))
        await asyncio.sleep(0)
        assert model.is_closed
        world.close()

    asyncio.run(story())


def test_what_is_left_of_a_request_counts_as_waiting_until_it_is_sent() -> None:
    queue = RowQueue()
    sent: list[tuple[int, int]] = []
    request = InferRequest("m", None, [InputTensor("x", DType.FLOAT32, (10, 1), [0.0] * 10)])

    def make(part: InferRequest, rows: int) -> Waiting:
        return Waiting(part, None, rows, (), 0.0)

    def send(piece: Waiting, before: int) -> None:
        sent.append((piece.rows, before))

    whole = Whole(Waiting(request, lambda answer: None, 10, (), 0.0), queue, 3, make, send)
    whole.start(2)

    assert (sent, queue.later_rows, queue.wholes) == ([(3, 0), (3, 1)], 4, 1)
    whole.cancel()
    whole.cancel()
    assert (queue.later_rows, queue.wholes) == (0, 0)
