"""Static INT8 on real graphs: what is quantized, what is left alone, and that it runs and says the same."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mlserve.core.digests import digest_file
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.graph.document import load_graph
from mlserve.graph.signature import read_signature
from mlserve.quantize.calibration import Calibration, RangeRule
from mlserve.quantize.int8 import Int8
from mlserve.quantize.quantizing import quantize
from mlserve.quantize.reporting import QuantizeReport
from mlserve.rows.reading import open_rows
from tests import models
from tests.quantize.processors import SLACK

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SIDE = 12


def convolutions(seed: int = 0, groups: int = 4) -> onnx.ModelProto:
    """``image`` [batch, 1, 12, 12] → Conv, Relu, MaxPool, Conv, Clip, mean, MatMul, Add → ``scores``."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(size=(32, 1, 3, 3)) / 3,
        "w2": rng.normal(size=(64, 32, 3, 3)) / 17,
        "w3": rng.normal(size=(64, groups)) / 8,
        "b3": rng.normal(size=groups),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1], name="second"),
        helper.make_node("Clip", ["c2", "zero", "six"], ["r2"]),
        helper.make_node("ReduceMean", ["r2", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w3"], ["product"]),
        helper.make_node("Add", ["product", "b3"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("image", 1, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", 1, ["batch", groups])],
        [
            *(numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()),
            numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def images(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(rows, 1, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def model() -> Path:
    return models.saved(convolutions(), Path("model.onnx"))


@pytest.fixture
def calibration() -> Path:
    np.savez("calibration.npz", image=images(200, 1))
    return Path("calibration.npz")


@pytest.fixture
def evaluation() -> Path:
    np.savez("evaluation.npz", image=images(150, 2))
    return Path("evaluation.npz")


def run(model: Path, calibrate: Path | None, out: Path = Path("out.onnx"), **options: Any) -> QuantizeReport:
    return quantize(model, out, method="int8", calibrate=calibrate, by="tester", now=NOW, **options)


def operators(path: Path) -> list[str]:
    return [node.op_type for node in load_graph(path).graph.node]


@pytest.mark.parametrize("rule", ["minmax", "entropy", "percentile"])
def test_convolutions_become_int8_and_answer_alike(
    model: Path, calibration: Path, evaluation: Path, rule: RangeRule
) -> None:
    report = run(model, calibration, evaluate=evaluation, calibration=rule, metric="cosine", max_drop=0.001)

    assert report.reasons == ()
    assert report.size_ratio > 3
    made = load_graph(Path("out.onnx"))
    assert [t.data_type for t in made.graph.initializer if len(t.dims) == 4] == [onnx.TensorProto.INT8] * 2


def test_what_follows_a_convolution_stays_in_int8(model: Path, calibration: Path) -> None:
    run(model, calibration)

    kinds = operators(Path("out.onnx"))
    assert "Relu" not in kinds  # a range from 0 up does the same
    pool = next(node for node in load_graph(Path("out.onnx")).graph.node if node.op_type == "MaxPool")
    made_by = {output: node.op_type for node in load_graph(Path("out.onnx")).graph.node for output in node.output}
    assert made_by[pool.input[0]] == "DequantizeLinear"


def test_tensorrt_gets_symmetric_pairs_of_its_own_and_biases_in_fp32(calibration: Path, evaluation: Path) -> None:
    graph = convolutions()
    graph.graph.node[0].input.append("b1")
    graph.graph.initializer.append(numpy_helper.from_array(np.ones(32, np.float32), "b1"))
    models.saved(graph, Path("biased.onnx"))

    report = run(Path("biased.onnx"), calibration, evaluate=evaluation, target="tensorrt", metric="cosine")

    assert report.reasons == ()
    made = load_graph(Path("out.onnx"))
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    pairs = [node for node in made.graph.node if node.op_type == "QuantizeLinear"]
    assert all(held[node.input[2]].dtype == np.int8 and not held[node.input[2]].any() for node in pairs)
    assert not any(value.dtype == np.int32 for value in held.values())


def test_cuda_is_refused_with_the_reason(model: Path, calibration: Path) -> None:
    (reason,) = run(model, calibration, target="cuda").reasons

    assert "no CUDA kernel for QLinearConv" in reason
    assert "--to fp16" in reason


def test_without_calibration_data_it_asks_for_some(model: Path) -> None:
    with pytest.raises(UsageError, match="needs data to calibrate on") as caught:
        run(model, None)

    assert "--calibrate" in str(caught.value.hint)


def test_calibration_data_without_rows_is_invalid(model: Path) -> None:
    np.savez("none.npz", image=images(0, 0))

    with pytest.raises(InvalidInput, match=r"'none\.npz' has no rows"):
        run(model, Path("none.npz"))


def test_a_softmax_and_a_network_of_matrices_are_no_trouble(evaluation: Path) -> None:
    models.saved(models.classifier(64, 3, hidden=128), Path("mlp.onnx"))
    rows = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    np.savez("a.npz", x=rows[:200])
    np.savez("b.npz", x=rows[200:])

    report = run(Path("mlp.onnx"), Path("a.npz"), evaluate=Path("b.npz"), metric="cosine", max_drop=0.01 * SLACK)

    assert report.reasons == ()
    assert report.size_ratio > 2.5
    assert operators(Path("out.onnx")).count("Softmax") == 1


def test_a_product_of_two_activations_stays_fp32() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Transpose", ["h"], ["t"]),
        helper.make_node("MatMul", ["h", "t"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", 1, [8, 64])],
        [helper.make_tensor_value_info("y", 1, [8, 8])],
        [numpy_helper.from_array(np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    models.saved(helper.make_model(graph, ir_version=10, opset_imports=opsets), Path("attention.onnx"))
    np.savez("rows.npz", x=np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32))

    report = run(Path("attention.onnx"), Path("rows.npz"))

    assert report.reasons == ()
    made = load_graph(Path("out.onnx"))
    by_output = {output: node for node in made.graph.node for output in node.output}
    last = by_output["y"]
    assert last.op_type == "MatMul"
    assert by_output[last.input[1]].op_type == "Transpose"


def test_words_and_encoders_stay_as_they_are_before_the_network() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "OneHotEncoder", ["city"], ["hot"], domain="ai.onnx.ml", cats_strings=["Bern", "Oslo"], zeros=1
        ),
        helper.make_node("Reshape", ["hot", "flat"], ["words"]),
        helper.make_node("Concat", ["words", "x"], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [
            helper.make_tensor_value_info("city", onnx.TensorProto.STRING, ["batch", 1]),
            helper.make_tensor_value_info("x", 1, ["batch", 30]),
        ],
        [helper.make_tensor_value_info("y", 1, ["batch", 4])],
        [
            numpy_helper.from_array(np.array([-1, 2]), "flat"),
            numpy_helper.from_array(rng.normal(size=(32, 128)).astype(np.float32), "w"),
            numpy_helper.from_array(rng.normal(size=128).astype(np.float32), "b"),
            numpy_helper.from_array(rng.normal(size=(128, 4)).astype(np.float32), "v"),
        ],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    models.saved(helper.make_model(graph, ir_version=10, opset_imports=opsets), Path("words.onnx"))
    for name, seed in (("a", 1), ("b", 2)):
        rows = np.random.default_rng(seed)
        np.savez(f"{name}.npz", city=rows.choice(["Bern", "Oslo"], 200), x=rows.normal(size=(200, 30)))

    report = run(Path("words.onnx"), Path("a.npz"), evaluate=Path("b.npz"), metric="cosine")

    assert report.reasons == ()
    assert operators(Path("out.onnx")).count("QuantizeLinear") == 3
    assert operators(Path("out.onnx")).count("OneHotEncoder") == 1


def test_the_same_data_gives_the_same_bytes_in_any_process(model: Path, calibration: Path) -> None:
    """Also where text hashes differently: the tools keep names in sets."""
    script = (
        "from datetime import UTC, datetime; from pathlib import Path;"
        "from mlserve.quantize.quantizing import quantize;"
        "quantize(Path('model.onnx'), Path('{}.onnx'), method='int8', calibrate=Path('calibration.npz'), by='t',"
        " now=datetime.now(UTC))"
    )
    for seed in ("1", "2"):
        subprocess.run([sys.executable, "-c", script.format(seed)], check=True, env={"PYTHONHASHSEED": seed})

    assert digest_file(Path("1.onnx")) == digest_file(Path("2.onnx"))


def rows_of(path: Path, model: Path, max_rows: int) -> Calibration:
    return Calibration(open_rows(path, read_signature(load_graph(model))), max_rows=max_rows)


def test_rows_to_calibrate_on_are_spread_over_the_file(model: Path) -> None:
    marked = images(1000, 0)
    marked[:, 0, 0, 0] = np.arange(1000)
    np.savez("many.npz", image=marked)

    batches = list(rows_of(Path("many.npz"), model, max_rows=10).batches(64))

    assert np.concatenate([b.inputs["image"][:, 0, 0, 0] for b in batches]).tolist() == list(range(0, 1000, 100))


def test_a_model_of_fixed_calls_is_calibrated_on_whole_calls(calibration: Path) -> None:
    graph = convolutions()
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    model = models.saved(graph, Path("fixed.onnx"))

    taken = rows_of(calibration, model, max_rows=2)

    assert [batch.rows for batch in taken.batches(64)] == [4, 4]
    assert run(model, calibration).reasons == ()


def test_weights_in_a_file_of_their_own_are_quantized_too(calibration: Path) -> None:
    Path("external").mkdir()
    models.save_with_external_data(Path("external/model.onnx"))
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))

    assert run(Path("external/model.onnx"), Path("x.npz"), force=True).output is not None


def test_no_file_is_left_but_the_model_and_its_evidence(model: Path, calibration: Path) -> None:
    run(model, calibration)

    left = {path.name for path in Path().iterdir()}
    assert left == {"model.onnx", "calibration.npz", "out.onnx", "out.onnx.evidence.json"}


def test_without_its_data_the_method_itself_still_knows_what_it_objects_to() -> None:
    from mlserve.quantize.census import take_census

    (reason,) = Int8().objections(take_census(models.two_inputs()), "cpu")

    assert "(Conv, MatMul, Gemm) it has none" in reason


def test_weights_on_the_left_of_every_product_are_unsupported() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["w", "x"], ["y"])],
        "left",
        [helper.make_tensor_value_info("x", 1, [64, 8])],
        [helper.make_tensor_value_info("y", 1, [64, 8])],
        [numpy_helper.from_array(np.ones((64, 64), np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    models.saved(helper.make_model(graph, ir_version=10, opset_imports=opsets), Path("left.onnx"))
    np.savez("x.npz", x=np.ones((64, 8), np.float32))

    with pytest.raises(Unsupported, match=r"nothing to do in 'left\.onnx'"):
        run(Path("left.onnx"), Path("x.npz"))


def test_embedding_tables_that_stay_are_told() -> None:
    rng = np.random.default_rng(0)
    graph = models.sequence_lengths(width=64, vocabulary=500)
    graph.graph.node.append(helper.make_node("MatMul", ["embedding", "w"], ["scores"]))
    graph.graph.initializer.append(numpy_helper.from_array(rng.normal(size=(64, 32)).astype(np.float32), "w"))
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("scores", 1, ["batch", 32]))
    models.saved(graph, Path("words.onnx"))
    np.savez("ids.npz", ids=rng.integers(0, 500, (100, 6)))
    np.savez("others.npz", ids=rng.integers(0, 500, (100, 6)))

    report = run(Path("words.onnx"), Path("ids.npz"), evaluate=Path("others.npz"), metric="cosine", force=True)

    assert any("embedding tables, 94% of the weights, stay FP32" in note for note in report.notes)
