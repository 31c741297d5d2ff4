"""Names of outputs and axes, changed without breaking what refers to them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from mlserve.export.naming import name_axes, number_values, rename_inputs, rename_outputs
from tests import models

FLOAT = onnx.TensorProto.FLOAT


def graph_of(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    values = [[helper.make_tensor_value_info(name, FLOAT, [2]) for name in names] for names in (inputs, outputs)]
    return helper.make_model(
        helper.make_graph(nodes, "g", *values), ir_version=10, opset_imports=[helper.make_opsetid("", 20)]
    )


def run(model: onnx.ModelProto, **inputs: list[float]) -> dict[str, list[float]]:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    feed = {name: np.array(values, np.float32) for name, values in inputs.items()}
    return {name: array.tolist() for name, array in zip(names, session.run(names, feed), strict=True)}


def chain() -> onnx.ModelProto:
    """h = -x, y = |h|"""
    return graph_of([helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Abs", ["h"], ["y"])], ["x"], ["y"])


def test_an_output_is_renamed() -> None:
    model = chain()

    assert rename_outputs(model, ["size"]) == ["size"]
    assert run(model, x=[1, -2]) == {"size": [1, 2]}


def test_a_name_that_an_inner_value_bears_is_taken_from_it() -> None:
    model = chain()

    rename_outputs(model, ["h"])

    assert run(model, x=[1, -2]) == {"h": [1, 2]}


def test_a_name_that_an_input_bears_gets_a_suffix() -> None:
    model = chain()

    assert rename_outputs(model, ["x"]) == ["x_out"]
    assert run(model, x=[1, -2]) == {"x_out": [1, 2]}


def test_equal_names_are_told_apart() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])]
    model = graph_of(nodes, ["x"], ["a", "b"])

    assert rename_outputs(model, ["y", "y"]) == ["y", "y_1"]
    assert run(model, x=[1, -2]) == {"y": [-1, 2], "y_1": [1, 2]}


def test_names_can_be_exchanged() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])]
    model = graph_of(nodes, ["x"], ["a", "b"])

    rename_outputs(model, ["b", "a"])

    assert run(model, x=[1, -2]) == {"b": [-1, 2], "a": [1, 2]}


def test_an_output_that_is_an_input_gets_a_copy() -> None:
    model = graph_of([helper.make_node("Neg", ["x"], ["a"])], ["x"], ["a", "x"])

    rename_outputs(model, ["minus", "same"])

    assert run(model, x=[1, 2]) == {"minus": [-1, -2], "same": [1, 2]}


def test_names_inside_branches_are_renamed_with_what_they_refer_to() -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["t"])], "then", [], [helper.make_tensor_value_info("t", FLOAT, [2])]
    )
    other = helper.make_graph(
        [helper.make_node("Abs", ["h"], ["e"])], "else", [], [helper.make_tensor_value_info("e", FLOAT, [2])]
    )
    nodes = [
        helper.make_node("Neg", ["x"], ["h"]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["flag"], to=onnx.TensorProto.BOOL),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=other),
    ]
    model = graph_of(nodes, ["x"], ["y"])

    rename_outputs(model, ["h"])

    assert run(model, x=[1, -2]) == {"h": [1, -2]}


def test_inputs_are_renamed_and_make_room() -> None:
    model = chain()

    rename_inputs(model, ["h"])

    assert run(model, h=[1, -2]) == {"y": [1, 2]}


def dims_of(model: onnx.ModelProto) -> list[list[str | int]]:
    return [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]


@pytest.mark.parametrize(
    ("dims", "named"),
    [
        pytest.param([None, 4], ["batch", 4], id="nameless"),
        pytest.param(["s77", 4], ["batch", 4], id="numbered"),
        pytest.param(["s77", "s53"], ["batch", "axis_1"], id="two numbered"),
        pytest.param(["rows", "words"], ["rows", "words"], id="named"),
        pytest.param(["s1", "s1"], ["batch", "batch"], id="equal"),
        pytest.param([3, 4], [3, 4], id="fixed"),
    ],
)
def test_dynamic_axes_without_a_name_get_one(dims: list[str | int | None], named: list[str | int]) -> None:
    model = models.echo(dims=dims)

    name_axes(model)

    assert dims_of(model) == [named, named]


def test_numbered_values_make_the_same_bytes_of_models_that_differ_in_inner_names() -> None:
    one, other = models.classifier(), models.classifier()
    for tensor in other.graph.initializer:
        tensor.name = f"other_{tensor.name}"
    for node in other.graph.node:
        node.name = f"node_{node.op_type}"
        node.input[:] = [f"other_{name}" if name in ("w1", "b1", "w2", "b2") else name for name in node.input]
    other.graph.initializer.reverse()
    before = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)

    for model in (one, other):
        number_values(model)

    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    session = ort.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = ort.InferenceSession(models.classifier().SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": before})[0].tolist() == expected.run(None, {"x": before})[0].tolist()
