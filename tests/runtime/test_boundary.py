"""The signature of a file is what the session says, and is read without the weights."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from mlserve.errors import InvalidInput, NotFound
from mlserve.runtime.boundary import read_boundary
from mlserve.runtime.model import load_model
from tests import models


@pytest.mark.parametrize(
    "proto",
    [models.classifier(), models.two_inputs(), models.mixed_columns(), models.sequence_lengths(), models.scalar()],
    ids=["classifier", "two inputs", "columns", "lengths", "scalar"],
)
def test_the_signature_is_that_of_the_session(proto: onnx.ModelProto, tmp_path: Path) -> None:
    path = models.saved(proto, tmp_path / "model.onnx")

    assert read_boundary(path) == load_model(path, device="cpu").signature


def test_inputs_with_a_default_are_no_inputs(tmp_path: Path) -> None:
    proto = models.classifier()
    weight = proto.graph.initializer[0]
    proto.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))

    signature = read_boundary(models.saved(proto, tmp_path / "model.onnx"))

    assert [spec.name for spec in signature.inputs] == ["x"]


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x3a\xff\x01no model")

    with pytest.raises(InvalidInput, match=r"bad\.onnx"):
        read_boundary(tmp_path / "bad.onnx")
    with pytest.raises(NotFound):
        read_boundary(tmp_path / "none.onnx")
