"""Golden rows: what a version answered when it was registered."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest

from mlserve.core.dtypes import DType
from mlserve.errors import CorruptArtefact, InvalidInput
from mlserve.runtime.golden import check_golden, make_golden, read_golden
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from tests import models


def loaded(model: onnx.ModelProto) -> OnnxModel:
    return load_model(model.SerializeToString(), device="cpu")


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(models.labelled_classifier(), id="numbers"),
        pytest.param(models.strings(), id="strings"),
        pytest.param(models.echo(DType.BFLOAT16), id="bfloat16"),
        pytest.param(models.echo(DType.FLOAT8E5M2), id="float8"),
        pytest.param(models.scalar(), id="scalar"),
    ],
)
def test_a_model_passes_its_own_golden_rows(proto: onnx.ModelProto) -> None:
    model = loaded(proto)
    inputs = synthetic_inputs(model.signature, 4, seed=0)
    content = make_golden(model, inputs)

    assert check_golden(model, content).is_exact
    again, _ = read_golden(content, model)
    assert all(
        np.array_equal(again[name], array) and again[name].dtype == array.dtype for name, array in inputs.items()
    )


def test_a_model_that_answers_otherwise_is_refused() -> None:
    rows = {"x": np.ones((2, 4), np.float32)}
    content = make_golden(loaded(models.classifier(seed=0)), rows)

    with pytest.raises(InvalidInput, match="other answers than when they were registered"):
        check_golden(loaded(models.classifier(seed=1)), content)


def test_bytes_that_are_no_golden_rows_are_corrupt() -> None:
    model = loaded(models.classifier())
    other = io.BytesIO()
    np.savez(other, x=np.ones(1))
    wrong_type = io.BytesIO()
    np.savez(wrong_type, **{"input/x": np.ones((1, 4)), "output/probabilities": np.ones((1, 3))})

    for content in (
        b"",
        b"PK\x03\x04",
        make_golden(model, {"x": np.ones((1, 4), np.float32)})[:-30],
        other.getvalue(),
        wrong_type.getvalue(),
    ):
        with pytest.raises(CorruptArtefact, match="cannot be read"):
            check_golden(model, content)
