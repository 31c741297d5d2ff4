"""Which tensor lies before a model's last layer, and how one is found by name."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlserve.errors import NotFound, UsageError
from mlserve.graph.tapping import give_out, named, penultimate, tensors_inside


def graph(nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], output: str = "y") -> onnx.ModelProto:
    """``x`` float32 [batch, 4] → ``output``, with weights of ones."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
        )
    )


def node(kind: str, inputs: list[str], output: str, name: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=name)


TWO_LAYERS = [
    node("MatMul", ["x", "w"], "h", "first"),
    node("Relu", ["h"], "r"),
    node("MatMul", ["r", "v"], "m", "head"),
    node("Add", ["m", "b"], "logits"),
    node("Softmax", ["logits"], "y"),
]
WEIGHTS = {"w": (4, 8), "v": (8, 3), "b": (3,)}


def test_the_last_layer_is_the_one_nearest_to_the_output() -> None:
    assert penultimate(graph(TWO_LAYERS, WEIGHTS), "y") == "r"


def test_casts_before_it_are_looked_through() -> None:
    nodes = [
        *TWO_LAYERS[:2],
        node("QuantizeLinear", ["r", "s"], "q"),
        node("DequantizeLinear", ["q", "s"], "d"),
        node("Identity", ["v"], "same"),
        node("MatMul", ["d", "same"], "y"),
    ]

    assert penultimate(graph(nodes, {**WEIGHTS, "s": ()}), "y") == "r"


def test_attention_is_no_layer() -> None:
    nodes = [
        node("MatMul", ["x", "w"], "h"),
        node("Relu", ["h"], "r"),
        node("MatMul", ["r", "u"], "k"),
        node("Transpose", ["k"], "t"),
        node("MatMul", ["r", "t"], "y"),
    ]

    assert penultimate(graph(nodes, {"w": (4, 8), "u": (8, 8)}), "y") == "r"


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([node("MatMul", ["x", "w"], "y")], id="a linear model"),
        pytest.param([node("Relu", ["x"], "y")], id="no layer"),
        pytest.param([], id="nothing"),
    ],
)
def test_a_model_of_one_layer_has_nothing_inside(nodes: list[onnx.NodeProto]) -> None:
    assert penultimate(graph(nodes, {"w": (4, 8)}), "y") is None


def test_tensors_and_nodes_are_found_by_name() -> None:
    model = graph([node("Identity", ["w"], "copy"), *TWO_LAYERS], WEIGHTS)

    assert tensors_inside(model) == ["h", "r", "m", "logits", "y"]
    assert named(model, "r") == "r"
    assert named(model, "head") == "m"


def test_names_that_are_not_there_are_refused_with_what_is() -> None:
    model = graph(TWO_LAYERS, WEIGHTS)

    with pytest.raises(NotFound) as near:
        named(model, "logit")
    with pytest.raises(NotFound) as far:
        named(model, "zzz")
    with pytest.raises(UsageError, match="is an input"):
        named(model, "x")

    assert near.value.hint == "did you mean 'logits'?"
    assert far.value.hint == "there are h, r, m, logits, y"


def test_what_is_given_out_is_an_output_once() -> None:
    model = graph(TWO_LAYERS, WEIGHTS)

    give_out(model, ["r", "y", "x"])

    assert [value.name for value in model.graph.output] == ["y", "r"]
