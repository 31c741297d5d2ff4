"""The invariant that matters most: row i served alone equals row i served in any batch.

Requests of any sizes, in any ticks, as lists or arrays, inline or in lanes, get what the bare model gives each alone.
"""

from __future__ import annotations

import asyncio

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
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
    "bfloat16": models.echo(DType.BFLOAT16),
    "float16": models.echo(DType.FLOAT16),
    "bool": models.echo(DType.BOOL),
}
BATCHED = {"classifier", "labelled", "columns", "two", "sequences", "strings", "bfloat16", "float16", "bool"}
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


def same(answer: dict[str, np.ndarray], alone: dict[str, np.ndarray]) -> None:
    assert answer.keys() == alone.keys()
    for name, array in alone.items():
        assert answer[name].dtype == array.dtype
        assert answer[name].shape == array.shape
        if array.dtype.kind == "f":
            # Within the certificate, which is "exact" on machines that sum in one order and a few ulps elsewhere.
            np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)
        else:
            assert np.array_equal(answer[name], array)


@pytest.mark.parametrize("costs", [INLINE, IN_LANES], ids=["inline", "in lanes"])
@settings(max_examples=12, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(sorted(PROTOS)),
            st.integers(1, 5) | st.just(300),
            st.integers(1, 3),
            st.integers(0, 2**16),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_a_request_is_answered_as_if_it_were_alone(
    costs: Costs, calls: list[tuple[str, int, int, int, bool, bool]]
) -> None:
    async def story() -> None:
        world = World(
            list(PROTOS), loader({(name, 1): proto for name, proto in PROTOS.items()}, costs), max_queue_rows=10**6
        )
        await world.repository.apply([wanted(name) for name in PROTOS])
        sent = []
        for name, rows, width, seed, as_lists, is_tick_over in calls:
            inputs = inputs_of(BARE[name], rows, width, seed)
            sent.append((name, inputs, world.ask(name, None, as_lists=as_lists, **inputs)))
            if is_tick_over:
                await asyncio.sleep(0)
        for name, inputs, future in sent:
            same(arrays(await future), BARE[name].run(inputs))
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
