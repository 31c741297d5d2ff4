"""The certificate: what may share a run, shown rather than assumed."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.runtime.certificate import Certificate, certify
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.threads import ThreadPlan
from tests import models

ONE = ThreadPlan(lanes=1, threads_per_run=1)


def loaded(model: onnx.ModelProto) -> OnnxModel:
    return load_model(model.SerializeToString(), device="cpu", threads=ONE)


def one_node(op: str, dtype: DType = DType.FLOAT32, **attributes: object) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attributes)],
        "g",
        [value("x", dtype.onnx, ["batch", 4])],
        [value("y", dtype.onnx, ["batch", 4])],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(models.classifier(), id="classifier"),
        pytest.param(models.labelled_classifier(), id="label and probabilities"),
        pytest.param(models.regressor(), id="regressor"),
        pytest.param(models.two_inputs(), id="two inputs"),
        pytest.param(models.mixed_columns(), id="mixed columns"),
        pytest.param(models.strings(), id="strings"),
        pytest.param(models.sequence_lengths(), id="sequences"),
        pytest.param(models.echo(DType.BFLOAT16), id="bfloat16"),
        pytest.param(models.echo(DType.FLOAT16), id="float16"),
        pytest.param(models.echo(DType.BOOL), id="bool"),
        pytest.param(models.echo(DType.FLOAT32, (None, 2)), id="axis without a name"),
    ],
)
def test_a_model_whose_rows_are_independent_is_certified(model: onnx.ModelProto) -> None:
    certificate = certify(loaded(model))

    assert certificate.batchable, certificate.reason
    assert certificate.exactness in ("exact", "close")
    assert certificate.max_abs < 1e-5


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param(models.batch_dependent(), "changes with its neighbours", id="mean over the batch"),
        pytest.param(models.fixed_shape(), "axis 0 of 'x' is not dynamic", id="fixed shape"),
        pytest.param(models.scalar(), "axis 0 of 'x' is not dynamic", id="scalar"),
        pytest.param(models.with_control_flow(), "changes with its neighbours", id="a branch taken by the whole batch"),
        pytest.param(one_node("RandomNormalLike"), "draws random numbers", id="random"),
        pytest.param(one_node("CumSum"), "", id="running sum over axis 0"),
    ],
)
def test_a_model_whose_rows_depend_on_each_other_is_not(model: onnx.ModelProto, reason: str) -> None:
    if any(node.op_type == "CumSum" for node in model.graph.node):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "axis"))
        model.graph.node[0].input.append("axis")

    certificate = certify(loaded(model))

    assert not certificate.batchable
    assert certificate.exactness == "none"
    assert reason in certificate.reason


def test_a_scale_taken_over_the_batch_is_refused_whatever_the_probe_shows() -> None:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 1, ["batch", 4])], [value("y", 1, ["batch", 4])])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])

    certificate = certify(loaded(model))

    assert not certificate.batchable
    assert "DynamicQuantizeLinear takes its scale over the whole batch" in certificate.reason


def test_a_constant_answer_shows_nothing() -> None:
    certificate = certify(loaded(one_node("Sign", DType.FLOAT32)), rows={"x": np.ones((4, 4), np.float32)})
    constant = one_node("Mul")
    constant.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    constant.graph.node[0].input.append("zero")

    nothing = certify(loaded(constant))

    assert certificate.batchable, "made-up rows tell where the given ones do not"
    assert not nothing.batchable
    assert "shows nothing" in nothing.reason


def test_a_model_that_refuses_made_up_rows_is_not_certified_but_with_real_ones_it_is() -> None:
    table = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "table")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "g",
        [value("ids", onnx.TensorProto.INT64, ["batch"])],
        [value("y", onnx.TensorProto.FLOAT, ["batch", 3])],
        [table],
    )
    model = loaded(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]))

    refused = certify(model)
    certified = certify(model, rows={"ids": np.array([0, 1, 1, 0])})

    assert not refused.batchable
    assert "the probe could not run on made-up rows" in refused.reason
    assert certified.exactness == "exact"


def test_two_axes_of_unlike_names_are_no_batch() -> None:
    model = models.two_inputs()
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "other"

    certificate = certify(loaded(model))

    assert not certificate.batchable
    assert "several names" in certificate.reason


def test_an_output_with_other_rows_than_the_inputs_is_no_batch() -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=0)],
        "g",
        [value("x", 1, [None, 4])],
        [value("y", 1, [None, 4])],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])

    assert "another number of rows" in certify(loaded(model)).reason


def test_the_probe_ends_when_its_time_is_up() -> None:
    ticks = iter(range(10_000))
    model = loaded(models.classifier())
    runs = []
    run = model.run
    model.run = lambda *a: runs.append(1) or run(*a)  # type: ignore[method-assign,func-returns-value]

    certificate = certify(model, budget_s=0.5, clock=lambda: float(next(ticks)))

    assert certificate.batchable
    assert len(runs) == 4 + 2 * 2, "four rows alone, and two of them twice together"


def test_a_certificate_survives_json_and_knows_where_it_holds() -> None:
    certificate = certify(loaded(models.classifier()))

    again = Certificate.from_dict(json.loads(json.dumps(certificate.to_dict())))

    assert again == certificate
    assert again.holds_for("CPUExecutionProvider", 1)
    assert not again.holds_for("CPUExecutionProvider", 2)


@pytest.mark.parametrize("fields", [{}, {"batchable": True}], ids=["empty", "partial"])
def test_what_is_no_certificate_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="not a certificate"):
        Certificate.from_dict(fields)
    with pytest.raises(InvalidInput, match="exactness"):
        Certificate.from_dict(certify(loaded(models.scalar())).to_dict() | {"exactness": "perhaps"})
