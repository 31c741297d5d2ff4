"""Graphs are joined where they fit, refused where they do not, and compute what they computed apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from mlserve.errors import InvalidInput, UsageError
from mlserve.graph.composing import Seam, compose, plan_seams, signatures_of
from mlserve.graph.document import check_graph
from mlserve.graph.signature import read_signature


def graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    *,
    opset: int = 20,
    kind: int = TensorProto.FLOAT,
    **more: Any,
) -> onnx.ModelProto:
    def values(specs: dict[str, Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, kind, dims) for name, dims in specs.items()]

    made = helper.make_graph(nodes, "g", values(inputs), values(outputs), **more)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def step(operator: str, source: str, target: str, dims: list[Any], **options: Any) -> onnx.ModelProto:
    """One operator from ``source`` to ``target``, with an inner value called as in every other."""
    nodes = [helper.make_node(operator, [source], ["inner"]), helper.make_node("Identity", ["inner"], [target])]
    return graph(nodes, {source: dims}, {target: dims}, **options)


ABS = step("Abs", "x", "y", ["n"])


def joined(*models: onnx.ModelProto, **mapping: str) -> onnx.ModelProto:
    made = compose(models, plan_seams(signatures_of(models), mapping))
    check_graph(made)
    return made


def run(model: onnx.ModelProto, **inputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = {name: np.float32(value) for name, value in inputs.items()}
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, arrays), strict=True))


def test_equal_names_are_joined_and_inner_names_do_not_clash() -> None:
    whole = joined(step("Abs", "x", "y", ["n", 2]), step("Neg", "y", "z", ["rows", 2]))

    assert [spec.name for spec in read_signature(whole).inputs] == ["x"]
    np.testing.assert_array_equal(run(whole, x=[[-1, 2]])["z"], [[-1, -2]])


def test_the_one_output_feeds_the_one_input_whatever_they_are_called() -> None:
    whole = joined(step("Abs", "x", "a", ["n", 2]), step("Neg", "b", "z", ["n", 2]), step("Exp", "c", "p", ["n", 2]))

    np.testing.assert_allclose(run(whole, x=[[-1, 2]])["p"], np.exp([[-1, -2]]), rtol=1e-6)


def test_a_mapping_wins_over_names() -> None:
    both = graph(
        [helper.make_node("Abs", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["w"])],
        {"x": ["n"]},
        {"y": ["n"], "w": ["n"]},
    )
    after = step("Exp", "y", "z", ["n"])

    np.testing.assert_allclose(run(joined(both, after), x=[-2])["z"], np.exp([2.0]), rtol=1e-6)
    np.testing.assert_allclose(run(joined(both, after, w="y"), x=[3])["z"], np.exp([-3.0]), rtol=1e-6)


def test_an_output_may_skip_a_model() -> None:
    first = graph(
        [helper.make_node("Abs", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["mask"])],
        {"x": ["n"]},
        {"y": ["n"], "mask": ["n"]},
    )
    last = graph([helper.make_node("Mul", ["z", "mask"], ["out"])], {"z": ["n"], "mask": ["n"]}, {"out": ["n"]})
    models = [first, step("Exp", "y", "z", ["n"]), last]

    plan = plan_seams(signatures_of(models), {})

    assert plan.seams == (Seam(0, "y", 1, "y"), Seam(1, "z", 2, "z"), Seam(0, "mask", 2, "mask"))
    np.testing.assert_allclose(run(compose(models, plan), x=[2])["out"], [-2 * np.exp(2)], rtol=1e-6)


def test_inputs_of_one_name_that_nothing_feeds_are_one_input() -> None:
    first = graph([helper.make_node("Add", ["x", "bias"], ["y"])], {"x": ["n"], "bias": ["n"]}, {"y": ["n"]})
    last = graph([helper.make_node("Mul", ["y", "bias"], ["z"])], {"y": ["m"], "bias": ["m"]}, {"z": ["m"]})

    whole = joined(first, last)

    assert [spec.name for spec in read_signature(whole).inputs] == ["x", "bias"]
    np.testing.assert_array_equal(run(whole, x=[1, 2], bias=[3, 4])["z"], [12, 24])


def test_axes_that_must_be_equal_have_one_name_and_others_do_not() -> None:
    last = graph(
        [helper.make_node("Identity", ["y"], ["z"]), helper.make_node("Abs", ["other"], ["w"])],
        {"y": ["batch", 2], "other": ["n"]},
        {"z": ["batch", 2], "w": ["n"]},
    )

    signature = read_signature(joined(step("Abs", "x", "y", ["n", 2]), last))

    assert {spec.name: spec.dims for spec in (*signature.inputs, *signature.outputs)} == {
        "x": ("n", 2),
        "z": ("n", 2),
        "other": ("n_1",),
        "w": ("n_1",),
    }


def test_graphs_of_older_operator_sets_are_brought_to_the_newest() -> None:
    whole = joined(step("Abs", "x", "y", ["n"], opset=13), step("Neg", "y", "z", ["n"], opset=20))

    assert {one.domain: one.version for one in whole.opset_import} == {"": 20}
    np.testing.assert_array_equal(run(whole, x=[-5])["z"], [-5])


def test_what_a_subgraph_takes_from_outside_is_joined_too() -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["y"], ["negated"])], "then", [], [helper.make_tensor_value_info("negated", 1, ["n"])]
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["y"], ["same"])], "else", [], [helper.make_tensor_value_info("same", 1, ["n"])]
    )
    condition = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    choice = graph(
        [helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=other)],
        {"y": ["n"]},
        {"z": ["n"]},
        initializer=[condition],
    )

    np.testing.assert_array_equal(run(joined(step("Abs", "x", "y", ["n"]), choice), x=[-5])["z"], [-5])


def test_the_models_given_stay_as_they_are() -> None:
    models = [step("Abs", "x", "y", ["n"], opset=13), step("Neg", "y", "z", ["n"])]
    before = [model.SerializeToString() for model in models]

    joined(*models)

    assert [model.SerializeToString() for model in models] == before


def test_properties_go_along() -> None:
    first, last = step("Abs", "x", "y", ["n"]), step("Neg", "y", "z", ["n"])
    helper.set_model_props(first, {"a": "1", "b": "1"})
    helper.set_model_props(last, {"b": "2"})

    assert {one.key: one.value for one in joined(first, last).metadata_props} == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        pytest.param(
            step("Abs", "x", "y", ["n", 2], kind=TensorProto.DOUBLE),
            step("Neg", "y", "z", ["n", 2]),
            "output 'y' of model 1 is FP64, and input 'y' of model 2 takes FP32",
            id="type",
        ),
        pytest.param(
            step("Abs", "x", "y", ["n", 2]),
            step("Neg", "y", "z", ["n", 3]),
            r"output 'y' of model 1 has shape \[-1, 2\], and input 'y' of model 2 takes \[-1, 3\]",
            id="length",
        ),
        pytest.param(step("Abs", "x", "y", ["n", 2]), step("Neg", "y", "z", ["n"]), r"takes \[-1\]", id="rank"),
    ],
)
def test_seams_that_do_not_fit_are_named(first: onnx.ModelProto, last: onnx.ModelProto, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        joined(first, last)


@pytest.mark.parametrize(
    ("models", "mapping", "said"),
    [
        pytest.param([ABS], {}, "nothing to join", id="one model"),
        pytest.param(
            [
                step("Abs", "x", "y", ["n"]),
                graph([helper.make_node("Add", ["a", "b"], ["z"])], {"a": ["n"], "b": ["n"]}, {"z": ["n"]}),
            ],
            {},
            "nothing feeds model 2, which takes 'a', 'b'",
            id="nothing fits",
        ),
        pytest.param(
            [step("Abs", "x", "y", ["n"]), step("Neg", "y", "z", ["n"])],
            {"q": "y"},
            "an output 'q'",
            id="unknown output",
        ),
        pytest.param([ABS, step("Neg", "y", "z", ["n"])], {"y": "q"}, "an input 'q'", id="unknown input"),
        pytest.param(
            [ABS, step("Neg", "y", "x", ["n"])],
            {},
            "'x' would be an input and",
            id="same name",
        ),
    ],
)
def test_what_cannot_be_joined_says_why(models: list[onnx.ModelProto], mapping: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        joined(*models, **mapping)
