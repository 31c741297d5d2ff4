"""Which methods are tried on what. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from mlserve.quantize.candidates import candidates, refusal
from mlserve.quantize.census import Census

MB = 1 << 20
TRANSFORMER = Census(float_bytes=90 * MB, matrix_bytes=43 * MB, table_bytes=47 * MB, conv_bytes=0, ml_nodes=0)
CNN = Census(float_bytes=MB, matrix_bytes=10_000, table_bytes=0, conv_bytes=MB, ml_nodes=0)
TREES = Census(float_bytes=0, matrix_bytes=0, table_bytes=0, conv_bytes=0, ml_nodes=3)
PLAIN = Census(float_bytes=4 * MB, matrix_bytes=0, table_bytes=0, conv_bytes=0, ml_nodes=0)


@pytest.mark.parametrize(
    ("census", "options", "methods"),
    [
        pytest.param(TRANSFORMER, {}, ("int8-dynamic", "int8-weights", "int4-weights"), id="transformer"),
        pytest.param(TRANSFORMER, {"is_judged": False}, ("int8-dynamic", "int8-weights"), id="transformer unjudged"),
        pytest.param(CNN, {"is_calibrated": True}, ("int8",), id="convolutions"),
        pytest.param(CNN, {}, ("fp16",), id="convolutions without data"),
        pytest.param(TRANSFORMER, {"target": "cuda"}, ("fp16", "int8-weights", "int4-weights"), id="cuda"),
        pytest.param(TRANSFORMER, {"target": "cuda", "is_judged": False}, ("fp16", "int8-weights"), id="cuda unjudged"),
        pytest.param(CNN, {"target": "cuda"}, ("fp16",), id="cuda convolutions"),
        pytest.param(CNN, {"target": "tensorrt", "is_calibrated": True}, ("fp16", "int8"), id="tensorrt"),
        pytest.param(CNN, {"target": "tensorrt"}, ("fp16",), id="tensorrt without data"),
    ],
)
def test_a_model_is_tried_with_what_its_device_computes(
    census: Census, options: dict[str, Any], methods: tuple[str, ...]
) -> None:
    options = {"target": "cpu", "is_calibrated": False, "is_judged": True} | options

    assert (*(found := candidates(census, **options)).methods, *found.late) == methods


def test_what_needs_data_is_named_where_there_is_none() -> None:
    (note,) = candidates(CNN, "cpu", is_calibrated=False, is_judged=True).left_out

    assert "--calibrate" in note


@pytest.mark.parametrize(
    ("census", "fact"),
    [
        pytest.param(TREES, "as of trees", id="trees"),
        pytest.param(PLAIN, "no FP32 weight that any method", id="no matrix"),
    ],
)
def test_where_nothing_can_gain_the_reason_is_given(census: Census, fact: str) -> None:
    assert fact in str(refusal(census))
    assert refusal(TRANSFORMER) is None
