"""Plans applied: only the named layers change, and what they compute stays close to what it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from mlserve.graph.document import check_graph
from mlserve.quantize.applying import BLOCK, Workbench
from mlserve.quantize.blocks import to_blocks
from mlserve.quantize.layers import Kind, layers_of, uniform
from tests.quantize.processors import SLACK

RNG = np.random.default_rng(7)
WIDTH = 72
"""Of a table's row and a matrix's column: no multiple of a block."""


def embedder(opset: int = 20) -> onnx.ModelProto:
    """``ids`` → table → two matrices that read the same values → Gemm with a bias, its weight stored turned → ``y``."""
    weights = {
        "table": RNG.normal(size=(200, WIDTH)),
        "w1": RNG.normal(size=(WIDTH, 96)) / 8,
        "w2": RNG.normal(size=(WIDTH, 96)) / 8,
        "w3": RNG.normal(size=(40, 96)) / 8,
        "bias": RNG.normal(size=40),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="look"),
        helper.make_node("MatMul", ["rows", "w1"], ["a"], name="first"),
        helper.make_node("MatMul", ["rows", "w2"], ["b"], name="second"),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("Mul", ["t", "b"], ["c"]),
        helper.make_node("Gemm", ["c", "w3", "bias"], ["y"], name="last", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 40])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


IDS = RNG.integers(0, 200, 64)


def answers(model: onnx.ModelProto) -> Any:
    check_graph(model)
    return ort.InferenceSession(model.SerializeToString()).run(None, {"ids": IDS})[0]


def untouched(model: onnx.ModelProto) -> set[str]:
    """The names of FP32 matrices that ``model`` still holds."""
    return {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and "/" not in t.name}


ALL = {"table", "w1", "w2", "w3", "bias"}


@pytest.mark.parametrize(
    ("plan", "gone"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param({"first": Kind.FP32}, set(), id="named to stay"),
        pytest.param({"first": Kind.INT8_DYNAMIC}, {"w1"}, id="one matrix"),
        pytest.param({"second": Kind.W8, "look": Kind.W4}, {"w2", "table"}, id="two kinds"),
        pytest.param({"last": Kind.W4}, {"w3"}, id="a turned weight"),
    ],
)
def test_only_the_named_layers_change(plan: dict[str, Kind], gone: set[str]) -> None:
    model = embedder()

    made = Workbench(model, "cpu").apply(plan)

    assert untouched(made) == ALL - gone
    assert untouched(model) == ALL


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize(
    ("kind", "error"),
    # Relative to the spread of the answers; 127 steps a side leave about 1 %, 7 steps about 20 %.
    [(Kind.INT8_DYNAMIC, 0.04 * SLACK), (Kind.W8, 0.03), (Kind.W4, 0.4)],
)
def test_answers_stay_close_whatever_the_opset(kind: Kind, error: float, opset: int) -> None:
    model = embedder(opset)
    bench = Workbench(model, "cpu")

    made = answers(bench.apply(uniform(bench.layers, kind)))

    before = answers(model)
    assert np.sqrt(((made - before) ** 2).mean()) / before.std() < error
    assert not np.array_equal(made, before)


def test_eight_bits_are_closer_than_four() -> None:
    model = embedder()
    bench = Workbench(model, "cpu")

    errors = [
        np.abs(answers(bench.apply(uniform(bench.layers, kind))) - answers(model)).max() for kind in (Kind.W8, Kind.W4)
    ]

    assert errors[0] < errors[1] / 4


def test_layers_that_read_the_same_values_share_their_int8_form() -> None:
    made = Workbench(embedder(), "cpu").apply({"first": Kind.INT8_DYNAMIC, "second": Kind.INT8_DYNAMIC})

    assert [node.op_type for node in made.graph.node].count("DynamicQuantizeLinear") == 1


def test_a_weight_that_two_layers_read_stays_for_the_one_that_is_not_planned() -> None:
    model = embedder()
    model.graph.node[2].input[1] = "w1"
    bench = Workbench(model, "cpu")

    one, both = bench.apply({"first": Kind.W8}), bench.apply({"first": Kind.W8, "second": Kind.W8})

    assert "w1" in untouched(one)
    assert [t.name for t in both.graph.initializer if t.name.startswith("w1")] == [
        "w1/int8-weights",
        "w1/int8-weights/scales",
    ]


def test_a_weight_too_small_to_gain_stays() -> None:
    model = embedder()
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(np.ones((40, 2), np.float32), "w3"))

    made = Workbench(model, "cpu").apply({"last": Kind.W8})

    assert "w3" in untouched(made)


def test_a_gpu_computes_blocks_in_its_own_precision() -> None:
    made = Workbench(embedder(), "cuda").apply({"first": Kind.W8})

    (node,) = [node for node in made.graph.node if node.op_type == "MatMulNBits"]
    assert "accuracy_level" not in {attribute.name for attribute in node.attribute}


def test_the_same_plan_gives_the_same_bytes() -> None:
    model = embedder()
    plan = {"look": Kind.W8, "first": Kind.W8, "second": Kind.INT8_DYNAMIC}
    tried, fresh = Workbench(model, "cpu"), Workbench(model, "cpu")
    tried.apply({"first": Kind.W4, "second": Kind.W8})

    first, second = (bench.apply(plan).SerializeToString(deterministic=True) for bench in (tried, fresh))

    assert first == second


def test_a_name_that_is_no_layer_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        Workbench(embedder(), "cpu").apply({"other": Kind.W8})


def test_layers_are_what_multiplies_by_a_stored_matrix() -> None:
    model = embedder()
    model.graph.node[5].attribute.append(helper.make_attribute("alpha", 0.5))
    model.graph.node[0].attribute.append(helper.make_attribute("axis", 1))

    assert [layer.name for layer in layers_of(model)] == ["first", "second"]


def test_nodes_without_a_name_of_their_own_get_one() -> None:
    model = embedder()
    model.graph.node[1].name = model.graph.node[2].name = ""
    model.graph.node[5].name = "look"

    bench = Workbench(model, "cpu")

    assert [layer.name for layer in bench.layers] == ["Gather_0", "MatMul_1", "MatMul_2", "Gemm_5"]
    assert len({node.name for node in bench.model.graph.node}) == 6


@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_are_within_half_a_step_but_where_the_largest_has_no_counterpart(bits: Any) -> None:
    rows = RNG.normal(size=(5, 70)).astype(np.float32)

    made = to_blocks(rows, bits=bits, size=BLOCK)

    codes = made.codes if bits == 8 else np.stack([made.codes & 15, made.codes >> 4], axis=-1).reshape(5, 3, BLOCK)
    values = ((codes.astype(np.int64) - 2 ** (bits - 1)) * made.scales[..., np.newaxis]).reshape(5, -1)[:, :70]
    step = np.repeat(np.abs(made.scales), BLOCK, axis=1)[:, :70]
    assert (np.abs(values - rows) <= step * (1 + 1e-5)).all()
    assert np.median(np.abs(values - rows) / step) < 0.5
    assert (made.codes[:, -1, 6 if bits == 8 else 3 :] == (128 if bits == 8 else 0x88)).all()


def test_a_block_of_zeros_stays_zero() -> None:
    made = to_blocks(np.zeros((1, 4), np.float32), bits=8, size=4)

    assert (made.codes.tolist(), made.scales.tolist()) == ([[[128] * 4]], [[0.0]])
