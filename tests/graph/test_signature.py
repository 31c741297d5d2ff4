"""Signatures as graphs declare them."""

import onnx
import onnxruntime
import pytest
from onnx import helper

from mlserve.core.dtypes import DType, from_ort
from mlserve.core.tensors import TensorSpec
from mlserve.errors import InvalidInput, Unsupported
from mlserve.graph.signature import read_signature
from tests import models


@pytest.mark.parametrize("dtype", DType)
def test_every_element_type_can_be_read(dtype: DType):
    signature = read_signature(models.echo(dtype, ("batch", 3)))

    assert signature.inputs == (TensorSpec("x", dtype, ("batch", 3)),)
    assert signature.outputs == (TensorSpec("y", dtype, ("batch", 3)),)


@pytest.mark.parametrize(
    "build", [models.labelled_classifier, models.strings, models.two_inputs, models.mixed_columns, models.scalar]
)
def test_the_runtime_declares_the_same(build):
    model = build()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    signature = read_signature(model)

    for specs, values in ((signature.inputs, session.get_inputs()), (signature.outputs, session.get_outputs())):
        assert [(s.name, s.dtype, list(s.dims)) for s in specs] == [(v.name, from_ort(v.type), v.shape) for v in values]


def test_dynamic_dims_keep_their_names_and_nameless_ones_have_none():
    assert read_signature(models.echo(dims=("batch", None, 0, 5))).inputs[0].dims == ("batch", None, 0, 5)


def test_minus_one_as_a_length_means_dynamic():
    assert read_signature(models.echo(dims=(-1, 2))).inputs[0].dims == (None, 2)


def test_a_negative_length_is_refused():
    with pytest.raises(InvalidInput, match="'x' has a dim of length -7"):
        read_signature(models.echo(dims=(-7,)))


def test_inputs_with_a_default_are_left_out():
    model = models.classifier()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))

    assert [spec.name for spec in read_signature(model).inputs] == ["x"]


def test_an_undeclared_shape_of_an_output_is_inferred():
    model = models.classifier()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, None))

    assert read_signature(model).outputs[0].dims == ("batch", 3)


def test_an_undeclared_type_of_an_output_is_inferred():
    model = models.classifier()
    model.graph.output[0].ClearField("type")

    assert read_signature(model).outputs[0].dtype is DType.FLOAT32


def test_a_shape_that_cannot_be_inferred_is_named():
    model = models.echo()
    model.graph.node[0].domain = "com.example"
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None))

    with pytest.raises(Unsupported, match="output 'y' declares no shape"):
        read_signature(model)


def test_a_graph_that_inference_cannot_follow_is_judged_by_what_it_declares():
    model = models.echo()
    del model.opset_import[:]
    model.graph.output[0].ClearField("type")

    with pytest.raises(Unsupported, match="output 'y' declares no type"):
        read_signature(model)


def test_an_input_without_shape_is_named():
    model = models.echo()
    model.graph.input[0].type.tensor_type.ClearField("shape")

    with pytest.raises(Unsupported, match="input 'x' declares no shape"):
        read_signature(model)


TENSOR = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1])


@pytest.mark.parametrize(
    ("kind", "type_proto"),
    [
        pytest.param(
            "sequence",
            helper.make_sequence_type_proto(helper.make_map_type_proto(onnx.TensorProto.INT64, TENSOR)),
            id="zipmap",
        ),
        pytest.param("map", helper.make_map_type_proto(onnx.TensorProto.STRING, TENSOR), id="map"),
        pytest.param("optional", helper.make_optional_type_proto(TENSOR), id="optional"),
        pytest.param(
            "sparse tensor", helper.make_sparse_tensor_type_proto(onnx.TensorProto.FLOAT, [2, 2]), id="sparse"
        ),
    ],
)
def test_what_is_not_a_tensor_is_named(kind: str, type_proto: onnx.TypeProto):
    model = models.echo()
    model.graph.output[0].type.CopyFrom(type_proto)

    with pytest.raises(Unsupported, match=f"output 'y' is a {kind}, not a tensor"):
        read_signature(model)


def test_an_element_type_from_the_future_is_named_with_its_tensor():
    model = models.echo()
    model.graph.input[0].type.tensor_type.elem_type = 99

    with pytest.raises(Unsupported, match="input 'x': ONNX element type 99"):
        read_signature(model)
