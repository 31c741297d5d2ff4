"""Runs at the lattice's sizes, in fixed buffers, answer as plain runs do, bit for bit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.errors import InvalidInput, Unavailable
from mlserve.runtime.fixed import CAPTURE_RUNS, SLOTS_EACH, FixedBatches
from mlserve.runtime.lattice import lattice_of
from mlserve.runtime.model import GRAPH_ID, OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.slots import Slot, pinned_memory, run_options
from mlserve.runtime.threads import ThreadPlan
from tests import models

LATTICE = lattice_of(12, (6,))


def loaded(proto: onnx.ModelProto) -> OnnxModel:
    return load_model(proto.SerializeToString(), device="cpu", threads=ThreadPlan(1, 1))


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name])


CLASSIFIER = loaded(models.classifier())
FIXED = FixedBatches(CLASSIFIER, LATTICE)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(0, 2**16))
def test_a_run_in_fixed_buffers_is_a_plain_run_of_the_size_it_was_filled_up_to(sizes: list[int], seed: int) -> None:
    for number, rows in enumerate(sizes):
        inputs = synthetic_inputs(CLASSIFIER.signature, rows, seed + number)
        point = next(size for size in LATTICE if size >= rows)
        filled = {name: np.concatenate([array, array[:1].repeat(point - rows, 0)]) for name, array in inputs.items()}

        plain = {name: array[:rows] for name, array in CLASSIFIER.run(filled).items()}

        assert_equal(FIXED.run(inputs), plain)


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(models.labelled_classifier(), id="several outputs"),
        pytest.param(models.two_inputs(), id="several inputs"),
        pytest.param(models.strings(), id="strings: filled up without buffers"),
        pytest.param(models.sequence_lengths(), id="lengths: filled up without buffers"),
        pytest.param(models.mixed_columns(), id="columns: filled up without buffers"),
    ],
)
def test_rows_answer_alike_whichever_way_they_run(proto: onnx.ModelProto) -> None:
    model = loaded(proto)
    fixed = FixedBatches(model, LATTICE)

    for rows in (1, 3, 5, 6, 12):
        inputs = synthetic_inputs(model.signature, rows, rows)
        answers = fixed.run(inputs)
        for name, array in model.run(inputs).items():
            assert answers[name].shape == array.shape
            if array.dtype.kind == "f":
                np.testing.assert_allclose(answers[name], array, rtol=1e-6)
            else:
                np.testing.assert_array_equal(answers[name], array)


def test_answers_are_the_callers_own_and_buffers_stay_where_they_are() -> None:
    fixed = FixedBatches(CLASSIFIER, LATTICE)
    before = [slot.addresses for slot in fixed.slots]
    first = fixed.run(synthetic_inputs(CLASSIFIER.signature, 3, 1))
    kept = {name: array.copy() for name, array in first.items()}

    for seed in range(20):
        fixed.run(synthetic_inputs(CLASSIFIER.signature, 3, seed))

    assert_equal(first, kept)
    assert [slot.addresses for slot in fixed.slots] == before
    assert len({address for addresses in before for address in addresses}) == 2 * SLOTS_EACH * len(LATTICE)


def test_outputs_asked_for_come_in_their_order() -> None:
    model = loaded(models.labelled_classifier())

    answers = FixedBatches(model, (4,)).run(synthetic_inputs(model.signature, 2, 0), ["probabilities", "label"])

    assert list(answers) == ["probabilities", "label"]


def test_lanes_that_run_at_once_do_not_meet_in_a_buffer() -> None:
    fixed = FixedBatches(CLASSIFIER, LATTICE)

    def answers_alike(seed: int) -> bool:
        inputs = synthetic_inputs(CLASSIFIER.signature, 6, seed)
        return bool(np.array_equal(fixed.run(inputs)["probabilities"], CLASSIFIER.run(inputs)["probabilities"]))

    with ThreadPoolExecutor(4) as lanes:
        assert all(lanes.map(answers_alike, range(400)))


def test_more_rows_than_the_lattice_has_and_no_rows_run_as_ever() -> None:
    for rows in (13, 0):
        inputs = synthetic_inputs(CLASSIFIER.signature, rows, 0)
        assert_equal(FIXED.run(inputs), CLASSIFIER.run(inputs))


def test_every_slot_has_a_graph_of_its_own_that_is_launched_by_one_thread() -> None:
    with ThreadPoolExecutor(1) as launcher:
        fixed = FixedBatches(CLASSIFIER, LATTICE, captures=True, launcher=launcher)
        graphs = [slot.graph for slot in fixed.slots]

        assert sorted(graphs) == list(range(1, 2 * len(LATTICE) + 1)), "0 is the graph of runs that name none"
        inputs = synthetic_inputs(CLASSIFIER.signature, 5, 7)
        for _ in range(3):
            answers = fixed.run(inputs)
        np.testing.assert_array_equal(
            answers["probabilities"], FixedBatches(CLASSIFIER, LATTICE).run(inputs)["probabilities"]
        )
        fixed.close()
    with pytest.raises(AssertionError):
        FixedBatches(CLASSIFIER, LATTICE, captures=True)


class Recorder(ThreadPoolExecutor):
    """One thread that notes what it was given to do, and that nobody else does it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.launched: list[int] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        slot = fn.__self__
        assert isinstance(slot, Slot)
        self.launched.append(slot.rows)
        assert threading.current_thread() is threading.main_thread()
        return super().submit(fn, *args, **kwargs)


def test_warming_launches_each_slot_as_often_as_a_capture_needs() -> None:
    with Recorder() as launcher:
        fixed = FixedBatches(CLASSIFIER, LATTICE, captures=True, launcher=launcher)

        for size in LATTICE:
            fixed.warm(lambda rows: synthetic_inputs(CLASSIFIER.signature, rows, 0), size)

        assert launcher.launched == [size for size in LATTICE for _ in range(2 * CAPTURE_RUNS)]


def test_run_options_name_the_graph_or_say_that_there_is_none() -> None:
    assert run_options(3).get_run_config_entry(GRAPH_ID) == "3"
    assert run_options(None).get_run_config_entry(GRAPH_ID) == "-1"


def test_values_that_the_model_refuses_are_an_error_of_the_request_and_the_slot_is_free_again() -> None:
    fixed = FixedBatches(CLASSIFIER, (2,))

    for _ in range(3):
        with pytest.raises(InvalidInput):
            fixed.run({"x": np.ones((2, 1), np.float32)})
    with pytest.raises(InvalidInput, match="differ in their number of rows"):
        fixed.run({"x": np.ones((2, 4), np.float32), "y": np.ones((1, 4), np.float32)})

    assert fixed.run({"x": np.ones((2, 4), np.float32)})["probabilities"].shape == (2, 3)


def test_a_row_that_made_a_run_fail_is_not_what_later_runs_are_filled_up_with() -> None:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "ids"], ["y"])],
        "g",
        [value("ids", onnx.TensorProto.INT64, ["n", 1])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 1])],
        [onnx.numpy_helper.from_array(np.arange(3, dtype=np.float32), "table")],
    )
    model = loaded(onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)]))
    fixed = FixedBatches(model, (4,))

    for _ in range(2 * SLOTS_EACH):
        with pytest.raises(InvalidInput):
            fixed.run({"ids": np.array([[0], [1], [2], [99]])})

    for _ in range(2 * SLOTS_EACH):
        assert fixed.run({"ids": np.array([[2], [1]])})["y"].tolist() == [[2.0], [1.0]]


def test_a_closed_lattice_answers_no_more() -> None:
    fixed = FixedBatches(CLASSIFIER, (2,))

    fixed.close()

    with pytest.raises(Unavailable, match="unloaded"):
        fixed.run({"x": np.ones((2, 4), np.float32)})


class Place:
    """An execution provider's device, as far as memory is asked for."""

    def __init__(self, ep_name: str, memory: str | None) -> None:
        self.ep_name, self.memory = ep_name, memory

    def memory_info(self, kind: object) -> str | None:
        return self.memory


def test_pinned_memory_is_that_of_the_device_and_none_is_needed_on_the_cpu() -> None:
    places = [Place("CPUExecutionProvider", None), Place("CUDAExecutionProvider", "pinned")]

    assert pinned_memory("cuda", lambda: places) == "pinned"
    assert pinned_memory("cpu", lambda: places) is None
    assert pinned_memory("cuda", lambda: places[:1]) is None
