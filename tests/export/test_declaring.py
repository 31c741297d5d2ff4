"""Declared output shapes against what the graph gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from mlserve.export.declaring import declare_outputs


def declaring(*dims: int | str) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, list(dims))
    return helper.make_model(helper.make_graph([], "g", [], [output]))


def dims_of(model: onnx.ModelProto) -> list[int | str]:
    dims = model.graph.output[0].type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims]


@pytest.mark.parametrize(
    ("declared", "given", "corrected"),
    [
        pytest.param(("batch", 1), [(4, 2), (1, 2)], ["batch", 2], id="another width"),
        pytest.param(("batch", 6, 5), [(4, 6, 5), (4, 3, 5)], ["batch", "", 5], id="a length that varies"),
        pytest.param((1,), [(4,), (1,)], [""], id="a batch declared as one row"),
        pytest.param(("batch", 1), [(4,), (1,)], ["batch"], id="fewer axes"),
        pytest.param(("batch",), [(4, 3), (1, 3)], ["batch", 3], id="more axes"),
    ],
)
def test_what_answers_contradict_is_corrected(
    declared: tuple[int | str, ...], given: list[tuple[int, ...]], corrected: list[int | str]
) -> None:
    model = declaring(*declared)

    assert declare_outputs(model, [{"y": np.zeros(shape)} for shape in given])

    assert dims_of(model) == corrected


def test_what_answers_confirm_stays() -> None:
    model = declaring("batch", 3)

    assert not declare_outputs(model, [{"y": np.zeros((2, 3))}, {"y": np.zeros((1, 3))}])

    assert dims_of(model) == ["batch", 3]
