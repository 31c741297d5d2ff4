"""The invariant that matters most: row i served alone equals row i served in any batch.

Requests of any sizes, in any ticks, as lists or arrays, inline or in lanes, get what the bare model gives each alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.slo import Slo
from mlserve.errors import DeadlineExceeded, Overloaded
from mlserve.runtime.costs import Costs
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.threads import ThreadPlan
from tests import models
from tests.serving.engines import IN_LANES, INLINE, World, arrays, loader, wanted

PROTOS = {
    "classifier": models.classifier(),
    "labelled": models.labelled_classifier(),
    "columns": models.mixed_columns(),
    "two": models.two_inputs(),
    "sequences": models.sequence_lengths(),
    "strings": models.strings(),
    "dependent": models.batch_dependent(),
    "fixed": models.fixed_shape(rows=2),
    "scalar": models.scalar(),
    "branch": models.with_control_flow(),
    **{f"echo {dtype.oip}": models.echo(dtype, ("batch", None)) for dtype in DType if dtype.oip is not None},
}
ECHOES = {name for name in PROTOS if name.startswith("echo ")}
BATCHED = {"classifier", "labelled", "columns", "two", "sequences", "strings", *ECHOES}
BARE = {
    name: load_model(proto.SerializeToString(), device="cpu", threads=ThreadPlan(1, 1))
    for name, proto in PROTOS.items()
}


def inputs_of(model: OnnxModel, rows: int, width: int, seed: int) -> dict[str, np.ndarray]:
    """Rows drawn from ``seed``; the second axis of ``width`` where it is free."""
    inputs = synthetic_inputs(model.signature, rows, seed)
    for spec in model.signature.inputs:
        if len(spec.dims) > 1 and not isinstance(spec.dims[1], int):
            inputs[spec.name] = np.ascontiguousarray(inputs[spec.name][:, :width])
    return inputs


def same(answer: dict[str, np.ndarray], alone: dict[str, np.ndarray], *, is_exact: bool = False) -> None:
    assert answer.keys() == alone.keys()
    for name, array in alone.items():
        assert answer[name].dtype == array.dtype
        assert answer[name].shape == array.shape
        if array.dtype.kind == "O":
            assert answer[name].tolist() == array.tolist()
        elif array.dtype.kind == "f" and not is_exact:
            # Within the certificate: a few ulps on machines that sum in another order for more rows.
            np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)
        else:
            assert answer[name].tobytes() == array.tobytes()


@dataclass(frozen=True)
class Call:
    """One request: what it holds, how urgent it is, and whether its sender stays for the answer."""

    name: str
    rows: int
    width: int
    seed: int
    as_lists: bool
    priority: int
    is_tick_over: bool
    fate: str


calls_of_any_kind = st.lists(
    st.builds(
        Call,
        name=st.sampled_from(sorted(PROTOS)),
        rows=st.integers(1, 5) | st.sampled_from([17, 300]),
        width=st.integers(1, 3),
        seed=st.integers(0, 2**16),
        as_lists=st.booleans(),
        priority=st.sampled_from([0, 0, 0, 1, 9]),
        is_tick_over=st.booleans(),
        fate=st.sampled_from(["wait", "wait", "wait", "wait", "cancel", "expire", "hurry"]),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("costs", [INLINE, IN_LANES], ids=["inline", "in lanes"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"preferred_rows": (2, 16), "max_delay_s": 1e-3}, id="preferred sizes and a hold"),
        pytest.param({"slo": Slo(99.0, 600.0)}, id="objective"),
        pytest.param({"cache_bytes": 1 << 16, "is_single_flight": True}, id="cache and single flight"),
    ],
)
@settings(max_examples=12, deadline=None)
@given(calls=calls_of_any_kind)
def test_a_request_is_answered_as_if_it_were_alone(costs: Costs, options: dict[str, Any], calls: list[Call]) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        protos = {(name, 1): proto for name, proto in PROTOS.items()}
        world = World(list(PROTOS), loader(protos, costs), max_queue_rows=10**6, **options)
        await world.repository.apply([wanted(name) for name in PROTOS])
        sent = []
        for call in calls:
            inputs = inputs_of(BARE[call.name], call.rows, call.width, call.seed)
            # "hurry" is a deadline that may or may not be kept; with an objective, what expired is refused at once.
            limits_s = {"expire": loop.time() - 1.0, "hurry": loop.time() + 2e-3}
            try:
                future = world.ask(
                    call.name,
                    None,
                    as_lists=call.as_lists,
                    priority=call.priority,
                    deadline_s=limits_s.get(call.fate),
                    **inputs,
                )
            except Overloaded:
                assert "slo" in options
                assert call.fate in limits_s
                continue
            sent.append((call, inputs, future))
            if call.fate == "cancel":
                world.ticket.cancel()
            if call.is_tick_over:
                await asyncio.sleep(0)
        for call, inputs, future in sent:
            if call.fate == "cancel":
                continue
            try:
                answer = arrays(await future)
            except DeadlineExceeded:
                assert call.fate in ("expire", "hurry")
                continue
            is_exact = world.engine.view(call.name).exactness == "exact"
            same(answer, BARE[call.name].run(inputs), is_exact=is_exact)
        while not world.engine.is_idle:
            await asyncio.sleep(1e-3)
        assert all(not future.done() for call, _, future in sent if call.fate == "cancel")
        assert all(counted.waiting_rows == 0 for counted in world.engine.statistics())
        world.close()

    asyncio.run(story())


@pytest.mark.parametrize("name", sorted(PROTOS))
def test_each_row_of_a_batch_is_the_row_alone_for_what_is_batched(name: str) -> None:
    async def story() -> None:
        world = World([name], loader({(name, 1): PROTOS[name]}, INLINE))
        await world.repository.apply([wanted(name)])
        assert world.engine.view(name).is_batchable == (name in BATCHED)
        model = BARE[name]
        inputs = inputs_of(model, 7, 3, seed=5)
        if name in BATCHED:
            whole = arrays(await world.ask(name, None, **inputs))
            for row in range(7):
                one = {key: array[row : row + 1] for key, array in inputs.items()}
                same({key: array[row : row + 1] for key, array in whole.items()}, model.run(one))
        else:
            futures = [world.ask(name, None, **inputs) for _ in range(3)]
            for answer in await asyncio.gather(*futures):
                same(arrays(answer), model.run(inputs))
                assert answer.stop is None
        world.close()

    asyncio.run(story())


def test_requests_of_zero_rows_and_of_unequal_rows_are_answered_as_the_model_answers_them() -> None:
    async def story() -> None:
        world = World(["two"], loader({("two", 1): PROTOS["two"]}, INLINE))
        await world.repository.apply([wanted("two")])
        one, many = np.ones((1, 4), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)
        nothing = np.empty((0, 4), np.float32)

        empty, broadcast, plain = await asyncio.gather(
            world.ask("two", None, a=nothing, b=nothing),
            world.ask("two", None, a=many, b=one),
            world.ask("two", None, a=one, b=one),
        )

        assert arrays(empty)["sum"].shape == (0, 4)
        same(arrays(broadcast), BARE["two"].run({"a": many, "b": one}))
        same(arrays(plain), BARE["two"].run({"a": one, "b": one}))
        world.close()

    asyncio.run(story())


def test_a_shape_the_probe_could_not_show_is_served_all_the_same() -> None:
    """A batchable model that gives fewer rows than it takes for some values: the request alone gets what there is."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Greater", ["x", "limit"], ["kept"]),
            onnx.helper.make_node("Compress", ["x", "kept"], ["y"], axis=0),
        ],
        "g",
        [value("x", 1, ["n"])],
        [value("y", 1, [None])],
        [onnx.numpy_helper.from_array(np.array(-1e6, np.float32), "limit")],
    )
    proto = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])

    async def story() -> None:
        world = World(["m"], loader({("m", 1): proto}, INLINE))
        await world.repository.apply([wanted("m")])
        assert world.engine.view("m").is_batchable

        futures = [world.ask("m", None, x=np.float32(row)) for row in ([1, 2], [-2e6, 5], [3])]
        answers = [arrays(answer)["y"].tolist() for answer in await asyncio.gather(*futures)]

        assert answers == [[1, 2], [5], [3]]
        world.close()

    asyncio.run(story())
