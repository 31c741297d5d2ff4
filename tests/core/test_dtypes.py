"""The one table of element types."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType, from_numpy, from_oip, from_onnx, from_ort
from mlserve.errors import Unsupported
from tests import models

dtypes = st.sampled_from(DType)
NO_KERNEL_YET = {DType.COMPLEX64, DType.COMPLEX128, DType.FLOAT6E2M3, DType.FLOAT6E3M2}


def test_every_onnx_element_type_has_a_row():
    known = {number for name, number in onnx.TensorProto.DataType.items() if name != "UNDEFINED"}

    assert {dtype.onnx for dtype in DType} == known


@given(dtypes)
def test_onnx_itself_agrees_on_the_numpy_type(dtype: DType):
    assert onnx.helper.tensor_dtype_to_np_dtype(dtype.onnx) == dtype.numpy


@given(dtypes)
def test_each_table_is_read_back_to_the_same_type(dtype: DType):
    assert from_onnx(dtype.onnx) is dtype
    assert from_ort(dtype.ort) is dtype
    assert from_numpy(dtype.numpy) is dtype
    assert dtype.oip is None or from_oip(dtype.oip) is dtype


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype not in NO_KERNEL_YET])
def test_onnx_runtime_prints_the_name_in_the_table(dtype: DType):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = models.echo(dtype)
    # A graph without nodes needs no kernel, which the narrowest types do not have.
    del model.graph.node[:]
    model.graph.output[0].name = "x"

    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    assert session.get_inputs()[0].type == dtype.ort


@pytest.mark.parametrize("text", ["U8", "S3", "O"])
def test_every_kind_of_text_is_a_string(text: str):
    assert from_numpy(np.dtype(text)) is DType.STRING


def test_byte_order_does_not_change_the_type():
    assert from_numpy(np.dtype(">f4")) is DType.FLOAT32


@pytest.mark.parametrize("text", ["M8[s]", "V2", "g"])
def test_a_numpy_type_without_onnx_counterpart_is_named(text: str):
    with pytest.raises(Unsupported, match="has no ONNX counterpart"):
        from_numpy(np.dtype(text))


@pytest.mark.parametrize(
    ("read", "unknown"),
    [
        pytest.param(from_onnx, 0, id="onnx undefined"),
        pytest.param(from_onnx, 99, id="onnx from the future"),
        pytest.param(from_ort, "seq(map(int64,tensor(float)))", id="ort sequence"),
        pytest.param(from_oip, "fp32", id="oip in lower case"),
    ],
)
def test_an_unknown_name_is_unsupported(read, unknown):
    with pytest.raises(Unsupported, match=str(unknown).replace("(", r"\(").replace(")", r"\)")):
        read(unknown)


@given(dtypes)
def test_what_is_served_goes_by_its_protocol_name(dtype: DType):
    if dtype.oip is not None:
        assert dtype.served == dtype.oip


def test_a_type_without_protocol_name_cannot_be_served():
    with pytest.raises(Unsupported, match="complex64 has no Open Inference Protocol type"):
        _ = DType.COMPLEX64.served


def test_the_wire_size_of_strings_varies_and_that_of_numbers_is_numpys():
    assert DType.STRING.itemsize == 0
    assert [DType.BFLOAT16.itemsize, DType.BOOL.itemsize, DType.FLOAT64.itemsize] == [2, 1, 8]


@given(dtypes)
def test_a_type_is_at_most_one_of_float_and_integer(dtype: DType):
    assert not (dtype.is_float and dtype.is_integer)
    assert (dtype.is_float or dtype.is_integer) == (dtype.numpy.kind in "iufV")
