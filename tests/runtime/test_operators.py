"""The operators of a graph, read without parsing it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from mlserve.errors import InvalidInput, NotFound
from mlserve.runtime.operators import read_operators
from tests import models


def with_function() -> onnx.ModelProto:
    """A model whose one node is a function of its own."""
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")], "g", [value("x", 1, ["n"])], [value("y", 1, ["n"])]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets, functions=[function])


@pytest.mark.parametrize(
    ("model", "operators"),
    [
        pytest.param(models.classifier(), {"Gemm", "Relu", "Softmax"}, id="plain"),
        pytest.param(with_function(), {"Twice", "Add"}, id="function"),
    ],
)
def test_all_operators_are_found_in_bytes_and_files(
    model: onnx.ModelProto, operators: set[str], tmp_path: Path
) -> None:
    assert read_operators(model.SerializeToString()) == operators
    assert read_operators(models.saved(model, tmp_path / "m.onnx")) == operators


def test_those_of_subgraphs_are_found() -> None:
    inside = {
        node.op_type for attribute in models.with_control_flow().graph.node[-1].attribute for node in attribute.g.node
    }

    assert inside
    assert inside | {"If"} <= read_operators(models.with_control_flow().SerializeToString())


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()

    with pytest.raises(NotFound, match="no file"):
        read_operators(tmp_path / "none.onnx")
    with pytest.raises(InvalidInput, match=r"empty\.onnx"):
        read_operators(tmp_path / "empty.onnx")


@given(st.integers(1, 400))
def test_a_file_cut_short_is_invalid_or_ends_between_fields(kept: int) -> None:
    content = models.classifier().SerializeToString()[:kept]

    with suppress(InvalidInput):
        assert read_operators(content) <= {"Gemm", "Relu", "Softmax"}


@given(st.binary(max_size=200))
def test_any_bytes_are_operators_or_invalid_input(content: bytes) -> None:
    with suppress(InvalidInput):
        read_operators(content)


@pytest.mark.parametrize(
    "content", [b"\x3b", b"\xff" * 12, b"\x3a\x04\x0a\x02\x22\x09"], ids=["group", "varint", "overrun"]
)
def test_what_is_no_protobuf_is_invalid(content: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_operators(content)


def test_numbers_of_every_kind_are_stepped_over() -> None:
    content = b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x08\x80\x01" + models.classifier().SerializeToString()

    assert "Gemm" in read_operators(content)
