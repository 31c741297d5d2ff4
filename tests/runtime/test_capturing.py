"""What is refused a CUDA graph, with the reason, before a session is made."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from mlserve.core.dtypes import DType
from mlserve.runtime.capturing import why_not_bound, why_not_captured
from mlserve.runtime.model import load_model
from tests import models


def reason(model: onnx.ModelProto) -> str | None:
    loaded = load_model(model.SerializeToString(), device="cpu")
    return why_not_captured(loaded.signature, loaded.operators)


def test_a_model_of_fixed_rows_is_captured() -> None:
    assert reason(models.classifier()) is None
    assert reason(models.two_inputs()) is None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        pytest.param(models.with_control_flow(), "If runs as often as values say", id="control flow"),
        pytest.param(
            models.sequence_lengths(), "input 'ids' has another dynamic axis than the batch (seq)", id="lengths"
        ),
        pytest.param(models.fixed_shape(), "input 'x' has no batch axis", id="no batch"),
        pytest.param(models.scalar(), "input 'x' has no batch axis", id="scalar"),
        pytest.param(models.strings(), "LabelEncoder runs on the CPU", id="a node on the CPU"),
        pytest.param(models.echo(DType.STRING), "input 'x' has strings", id="strings"),
        pytest.param(models.echo(DType.BFLOAT16), "input 'x' is bfloat16, which numpy has not", id="bits"),
    ],
)
def test_what_cannot_be_captured_says_why(model: onnx.ModelProto, why: str) -> None:
    assert reason(model) == why


def test_outputs_as_long_as_values_say_are_refused(tmp_path: Path) -> None:
    loaded = load_model(models.classifier().SerializeToString(), device="cpu")

    assert why_not_captured(loaded.signature, {"NonZero"}) == "NonZero gives a tensor as long as values say"
    assert why_not_bound(loaded.signature) is None
