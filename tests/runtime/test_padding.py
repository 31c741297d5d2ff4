"""Rows are filled up only where it was shown that no answer changes by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlserve.errors import InvalidInput
from mlserve.runtime.certificate import Certificate, certify, with_padding
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.padding import Padding, filled_up, find_axis, prove_padding
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.threads import ThreadPlan
from tests.bench import models as bench_models


def _value(name: str, kind: int, *dims: str | int) -> Any:
    return helper.make_tensor_value_info(name, kind, list(dims))


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> OnnxModel:
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "g", inputs, outputs, [axis])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return load_model(made.SerializeToString(), device="cpu", threads=ThreadPlan(1, 1))


def masked_sum(*, heeds_mask: bool = True, mask: str = "attention_mask") -> OnnxModel:
    """``tokens`` = x·mask, as long as the row, and ``total`` = its sum, or that of x+1 where the mask is not heeded."""
    nodes = [
        helper.make_node("Mul", ["x", mask], ["tokens"]),
        helper.make_node("ReduceSum", ["tokens" if heeds_mask else "more", "axis"], ["total"], keepdims=0),
    ]
    if not heeds_mask:
        nodes.insert(0, helper.make_node("Cos", ["x"], ["more"]))
    return _model(
        nodes,
        [_value("x", TensorProto.FLOAT, "batch", "seq"), _value(mask, TensorProto.FLOAT, "batch", "seq")],
        [_value("tokens", TensorProto.FLOAT, "batch", "seq"), _value("total", TensorProto.FLOAT, "batch")],
    )


def test_a_model_that_heeds_its_mask_is_proven_inert_with_the_axes_to_cut_back() -> None:
    padding = prove_padding(masked_sum())

    assert padding.is_inert
    assert (padding.axis, padding.mask) == ("seq", "attention_mask")
    assert padding.outputs == {"tokens": (1,), "total": ()}


def test_a_model_that_does_not_heed_its_mask_is_refused_with_the_reason() -> None:
    padding = prove_padding(masked_sum(heeds_mask=False))

    assert not padding.is_inert
    assert padding.reason == "a row's answer changes when it is filled up under the mask"


def test_a_dynamic_axis_without_a_mask_is_refused() -> None:
    assert find_axis(masked_sum(mask="weights").signature) == "no input is a mask over a dynamic axis"


def test_a_model_that_refuses_the_probe_is_refused_and_not_raised() -> None:
    table = helper.make_tensor("table", TensorProto.FLOAT, [4, 1], [1.0, 2.0, 3.0, 4.0])
    gather = helper.make_node("Constant", [], ["t"], value=table)
    model = _model(
        [
            gather,
            helper.make_node("Add", ["x", "mask"], ["index"]),
            helper.make_node("Gather", ["t", "index"], ["y"]),
        ],
        [_value("x", TensorProto.INT64, "batch", "seq"), _value("mask", TensorProto.INT64, "batch", "seq")],
        [_value("y", TensorProto.FLOAT, "batch", "seq", 1)],
    )

    assert "the probe could not run" in prove_padding(model).reason


def test_rows_are_filled_up_with_zeros_behind_their_own_values() -> None:
    whole = filled_up([np.ones((1, 2, 1)), np.full((2, 3, 1), 2.0)], 1, 3)

    assert whole[:, :, 0].tolist() == [[1, 1, 0], [2, 2, 2], [2, 2, 2]]


def test_a_certificate_keeps_its_proof_and_one_of_before_is_still_read() -> None:
    certificate = certify(masked_sum())
    fields = certificate.to_dict()
    before = {name: value for name, value in fields.items() if name != "padding"}

    assert certificate.padding is not None
    assert Certificate.from_dict(fields) == certificate
    assert Certificate.from_dict(before).padding is None


def test_a_certificate_of_before_is_given_the_proof_that_it_lacks() -> None:
    model = masked_sum()
    whole = certify(model)
    before = Certificate.from_dict(whole.to_dict() | {"padding": None})

    assert with_padding(before, model) == whole


@pytest.mark.parametrize("broken", [{"axis": "seq"}, {"outputs": 3}, "text"], ids=["few", "outputs", "no-mapping"])
def test_what_is_no_proof_is_refused(broken: Any) -> None:
    fields = certify(masked_sum()).to_dict()

    with pytest.raises(InvalidInput, match="not a"):
        Certificate.from_dict(fields | {"padding": broken})


def test_an_unknown_exactness_is_no_proof() -> None:
    fields = prove_padding(masked_sum()).to_dict()

    with pytest.raises(InvalidInput, match="exactness 'perhaps'"):
        Padding.from_dict(fields | {"exactness": "perhaps"})


def test_made_up_rows_have_the_length_asked_for() -> None:
    rows = synthetic_inputs(masked_sum().signature, 3, seed=0, lengths={"seq": 5})

    assert {array.shape for array in rows.values()} == {(3, 5)}


def test_a_sentence_encoder_is_proven_inert() -> None:
    model = load_model(bench_models.minilm(), device="cpu", threads=ThreadPlan(1, 1))

    padding = prove_padding(model)

    assert padding.is_inert, padding.reason
    assert padding.mask == "attention_mask"
