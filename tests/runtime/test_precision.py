"""What a model computes in is read from what ``quantize`` wrote, and else from its operators and tensors."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from mlserve.compare.ladder.tolerances import PRECISIONS
from mlserve.core.dtypes import DType
from mlserve.graph.properties import set_properties
from mlserve.runtime.model import load_model
from mlserve.runtime.precision import precision_of
from tests import models


def said(method: str) -> onnx.ModelProto:
    model = models.classifier()
    set_properties(model, {"mlserve.quantize.method": method})
    return model


def rounded() -> onnx.ModelProto:
    """``y = x`` by way of 8 bits, without a word of who made it."""
    model = models.echo()
    name = model.graph.input[0].name, model.graph.output[0].name
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("DynamicQuantizeLinear", [name[0]], ["q", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], [name[1]]),
        ]
    )
    return model


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        pytest.param(models.classifier(), "fp32", id="as exported"),
        pytest.param(said("int8-weights"), "int8-weights", id="as quantize says"),
        pytest.param(said("of a later release"), "fp32", id="an unknown word"),
        pytest.param(rounded(), "int8-dynamic", id="operators"),
        pytest.param(models.echo(DType.FLOAT16), "fp16", id="tensors"),
    ],
)
def test_a_precision_is_told(model: onnx.ModelProto, precision: str) -> None:
    opened = load_model(model.SerializeToString(), device="cpu")

    assert precision_of(opened) == precision
    assert precision in PRECISIONS
    opened.close()
