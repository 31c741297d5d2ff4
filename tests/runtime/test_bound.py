"""Slots, on the CPU's provider: the same answers as without, at fixed addresses, from several threads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput, Unavailable
from mlserve.runtime.bound import BoundModel, reason_against_graphs, reason_against_slots, warm
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.slots import RECORDING, in_slots
from tests import models

SIZES = (1, 2, 4, 8)


def plain(proto: onnx.ModelProto) -> OnnxModel:
    return load_model(proto.SerializeToString(), device="cpu")


def bound(proto: onnx.ModelProto, sizes: tuple[int, ...] = SIZES) -> BoundModel:
    return BoundModel(plain(proto), sizes)


def is_same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 9, 40])
@pytest.mark.parametrize(
    "proto",
    [
        models.classifier(),
        models.labelled_classifier(),
        models.two_inputs(),
        *(
            models.echo(dtype)
            for dtype in (DType.FLOAT16, DType.FLOAT64, DType.BOOL, DType.INT8, DType.INT64, DType.UINT16)
        ),
    ],
    ids=str,
)
def test_a_batch_of_any_size_answers_as_it_does_without_slots(proto: onnx.ModelProto, rows: int) -> None:
    model = bound(proto)
    inputs = synthetic_inputs(model.signature, rows, seed=rows)

    assert is_same(model.run(inputs), plain(proto).run(inputs))


def test_lengths_that_vary_have_slots_of_their_own_and_the_oldest_go() -> None:
    model, alone = bound(models.sequence_lengths()), plain(models.sequence_lengths())
    for length in (*range(1, 90), 3, 89):
        lengths = {dim: length for spec in model.signature.inputs for dim in spec.dims[1:] if isinstance(dim, str)}
        inputs = synthetic_inputs(model.signature, 3, seed=length, lengths=lengths)
        assert is_same(model.run(inputs), alone.run(inputs))


def test_an_answer_is_not_the_slots_own_memory() -> None:
    model = bound(models.classifier())
    first = model.run({"x": np.ones((2, 4), np.float32)})["probabilities"]
    kept = first.copy()

    model.run({"x": np.full((2, 4), 9, np.float32)})

    assert np.array_equal(first, kept)


def test_outputs_asked_for_come_alone_and_in_order() -> None:
    model = bound(models.labelled_classifier())

    assert list(model.run({"x": np.ones((2, 4), np.float32)}, ["probabilities"])) == ["probabilities"]


def test_threads_have_slots_of_their_own() -> None:
    model, alone = bound(models.classifier(hidden=64)), plain(models.classifier(hidden=64))

    def ask(number: int) -> bool:
        inputs = {"x": np.full((1 + number % 8, 4), number / 50, np.float32)}
        return is_same(model.run(inputs), alone.run(inputs))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(400)))


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"y": np.ones((1, 4), np.float32)},
        {"x": np.ones((1, 4), np.float64)},
        {"x": np.ones((1, 5), np.float32)},
        {"x": np.ones((1, 4), np.float32), "y": np.ones((1, 4), np.float32)},
    ],
)
def test_what_the_model_refuses_is_refused_as_without_slots(inputs: dict[str, Any]) -> None:
    model = bound(models.classifier())
    model.run({"x": np.ones((1, 4), np.float32)})

    with pytest.raises(InvalidInput):
        model.run(inputs)


def test_no_rows_are_no_rows() -> None:
    assert bound(models.classifier()).run({"x": np.ones((0, 4), np.float32)})["probabilities"].shape == (0, 3)


def test_a_closed_model_says_so() -> None:
    model = bound(models.classifier())
    model.run({"x": np.ones((1, 4), np.float32)})
    model.close()

    with pytest.raises(Unavailable, match="unloaded"):
        model.run({"x": np.ones((1, 4), np.float32)})


def test_models_whose_tensors_do_not_fit_slots_are_named() -> None:
    open_ended = Signature(
        (TensorSpec("x", DType.FLOAT32, ("n", 2)),), (TensorSpec("places", DType.INT64, ("n", "found")),)
    )

    assert reason_against_slots(plain(models.classifier()).signature) is None
    assert reason_against_slots(plain(models.sequence_lengths()).signature) is None
    assert "string" in (reason_against_slots(plain(models.strings()).signature) or "")
    assert "bfloat16" in (reason_against_slots(plain(models.echo(DType.BFLOAT16)).signature) or "")
    assert "axis 0" in (reason_against_slots(plain(models.fixed_shape()).signature) or "")
    assert "'places'" in (reason_against_slots(open_ended) or "")


def test_no_graph_is_recorded_of_a_model_with_control_flow() -> None:
    assert reason_against_graphs(plain(models.classifier()).operators) is None
    assert "If" in (reason_against_graphs(plain(models.with_control_flow()).operators) or "")


class OnCuda(OnnxModel):
    """A model as if on CUDA: its provider's name is all that the choice looks at."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.__dict__.update(plain(proto).__dict__)
        self.providers = ("CUDAExecutionProvider", "CPUExecutionProvider")


def test_slots_are_for_devices_unless_asked_for() -> None:
    def never() -> OnnxModel:
        raise AssertionError("nothing is loaded again")

    model = plain(models.classifier())

    assert in_slots(model, SIZES, "auto", never).model is model
    assert in_slots(OnCuda(models.classifier()), SIZES, "off", never).shown == ""
    assert isinstance(in_slots(model, SIZES, "on", never).model, BoundModel)
    assert in_slots(plain(models.strings()), SIZES, "on", never).shown == "no slots: 'text' is string"


def test_on_cuda_the_session_is_made_again_for_graphs_and_the_first_let_go() -> None:
    first, second = OnCuda(models.classifier()), OnCuda(models.classifier())

    found = in_slots(first, SIZES, "auto", lambda: second)

    assert found.shown == "slots and graphs"
    assert isinstance(found.model, BoundModel)
    assert found.model.is_recorded
    with pytest.raises(Unavailable):
        first.run({"x": np.ones((1, 4), np.float32)})
    assert RECORDING == {"CUDAExecutionProvider": {"enable_cuda_graph": "1"}}


def test_where_no_graph_can_be_recorded_there_are_slots_without() -> None:
    def refuse() -> OnnxModel:
        raise InvalidInput("nodes are on the CPU")

    found = in_slots(OnCuda(models.classifier()), SIZES, "auto", refuse)
    flowing = in_slots(OnCuda(models.with_control_flow()), SIZES, "auto", refuse)

    assert found.shown == "slots without graphs: nodes are on the CPU"
    assert flowing.shown.startswith(("slots without graphs: it has If", "no slots"))


def test_a_recorded_run_has_a_graph_a_slot_and_others_none() -> None:
    asked: list[dict[str, str]] = []

    class Noting(BoundModel):
        def _made(self, inputs: Any, size: int) -> Any:
            slot = super()._made(inputs, size)
            asked.append({"slot": slot.options.get_run_config_entry("gpu_graph_id")})
            return slot

    model = Noting(plain(models.classifier()), SIZES, is_recorded=True, device="cpu")
    for rows in (1, 2, 1, 7, 8):
        model.run({"x": np.ones((rows, 4), np.float32)})

    assert [one["slot"] for one in asked] == ["1", "2", "3"]
    assert model._options.get_run_config_entry("gpu_graph_id") == "-1"


def test_graphs_are_recorded_once_whatever_threads_ask() -> None:
    made: list[int] = []

    class Noting(BoundModel):
        def _made(self, inputs: Any, size: int) -> Any:
            made.append(size)
            return super()._made(inputs, size)

    model = Noting(plain(models.classifier()), SIZES, is_recorded=True, device="cpu")
    warm(model, {"x": np.ones((8, 4), np.float32)}, SIZES, lambda: False)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda rows: model.run({"x": np.ones((rows, 4), np.float32)}), [1, 2, 3, 5, 8] * 20))
    model.close()

    assert made == list(SIZES)


def test_warming_runs_every_size_until_the_time_is_over() -> None:
    seen: list[int] = []

    class Counting(OnnxModel):
        def __init__(self) -> None:
            self.__dict__.update(plain(models.classifier()).__dict__)

        def run(self, inputs: Any, outputs: Any = None) -> Any:
            seen.append(len(inputs["x"]))
            return super().run(inputs, outputs)

    inputs = {"x": np.ones((8, 4), np.float32)}

    assert warm(Counting(), inputs, SIZES, lambda: False) == [1, 2, 4, 8]
    assert seen == [1, 1, 2, 2, 4, 4, 8, 8]
    assert warm(Counting(), inputs, SIZES, lambda: len(seen) > 10) == [1, 2]
