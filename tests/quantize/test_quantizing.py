"""Real models made smaller, measured as saved, and refused where that is the answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from mlserve.core.digests import digest_file
from mlserve.core.evidence import read_sidecar
from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.graph.document import load_graph
from mlserve.graph.packaging import model_files
from mlserve.graph.properties import get_properties
from mlserve.quantize import trial
from mlserve.quantize.attempting import check_made
from mlserve.quantize.census import take_census
from mlserve.quantize.methods import QUANTIZERS
from mlserve.quantize.ordering import sort_nodes
from mlserve.quantize.preparing import prepare, quiet
from mlserve.quantize.quantizer import Quantized
from mlserve.quantize.quantizing import quantize
from mlserve.quantize.reporting import QuantizeReport
from tests import models

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FEATURES = 64
ROWS = np.random.default_rng(1).normal(size=(120, FEATURES)).astype(np.float32)


@pytest.fixture
def model() -> Path:
    return models.saved(models.classifier(FEATURES, 3, hidden=128), Path("model.onnx"))


@pytest.fixture
def data(model: Path) -> Path:
    session = ort.InferenceSession(model)
    np.savez("rows.npz", x=ROWS, label=session.run(None, {"x": ROWS})[0].argmax(-1))
    return Path("rows.npz")


def run(model: Path, method: str = "int8-dynamic", out: Path = Path("out.onnx"), **options: Any) -> QuantizeReport:
    return quantize(model, out, method=method, by="tester", now=NOW, **options)


def here() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.mark.parametrize(
    ("method", "ratio"), [("fp16", 1.7), ("int8-dynamic", 2.5), ("int8-weights", 2.5), ("int4-weights", 3.5)]
)
def test_a_smaller_model_is_written_with_its_evidence(model: Path, data: Path, method: str, ratio: float) -> None:
    report = run(model, method, evaluate=data, metric="accuracy", max_drop=0.1)

    assert report.reasons == ()
    assert report.size_ratio > ratio
    assert report.metric is not None
    assert (report.metric.before, report.metric.rows) == (1.0, 120)
    assert here() == {"model.onnx", "rows.npz", "out.onnx", "out.onnx.evidence.json"}
    made, accuracy = read_sidecar(Path("out.onnx"), digest_file(Path("out.onnx")))
    assert (made.kind, made.passed, made.figures["parent"]) == ("quantization", True, digest_file(model))
    assert (accuracy.kind, accuracy.passed, accuracy.data_digest) == ("accuracy", True, digest_file(data))
    assert accuracy.figure("accuracy") == report.metric.after
    assert accuracy.figure("drop") == report.metric.drop


def test_the_metric_is_that_of_the_file_as_saved(model: Path, data: Path) -> None:
    report = run(model, evaluate=data, metric="accuracy", max_drop=1.0)

    session = ort.InferenceSession("out.onnx")
    with np.load(data) as held:
        decided = session.run(None, {"x": held["x"]})[0].argmax(-1)
        assert report.metric is not None
        assert report.metric.after == pytest.approx((decided == held["label"]).mean())


def test_the_file_says_what_it_was_made_of_and_how(model: Path, data: Path) -> None:
    run(model, evaluate=data)

    properties = get_properties(load_graph(Path("out.onnx")))
    assert properties["mlserve.quantize.parent"] == digest_file(model)
    assert properties["mlserve.quantize.method"] == "int8-dynamic"
    assert json.loads(properties["mlserve.quantize.options"])["per_channel"] is True


@pytest.mark.parametrize("method", ["fp16", "int8-dynamic", "int8-weights"])
def test_the_same_model_gives_the_same_bytes(model: Path, method: str) -> None:
    first, second = (run(model, method, Path(name)) for name in ("a.onnx", "b.onnx"))

    assert first.digest == second.digest


def noisy(path: Path = Path("noisy.onnx")) -> Path:
    """A model that INT8 ruins: one weight of 1000 sets the scale, the others fall to zero."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(FEATURES, 32)).astype(np.float32)
    weights[0] = 1e4
    last = rng.normal(size=(32, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Sub", ["x", "offset"], ["centred"]),
        helper.make_node("MatMul", ["centred", "w"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["y"]),
    ]
    offset = np.zeros(FEATURES, np.float32)
    graph = helper.make_graph(
        nodes,
        "noisy",
        [helper.make_tensor_value_info("x", 1, ["batch", FEATURES])],
        [helper.make_tensor_value_info("y", 1, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in (("w", weights), ("v", last), ("offset", offset))],
    )
    return models.saved(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def test_a_model_that_got_worse_is_refused_and_nothing_is_written() -> None:
    rows = ROWS.copy()
    rows[:, 0] = 0
    np.savez("rows.npz", x=rows)

    report = run(noisy(), evaluate=Path("rows.npz"), metric="agreement", max_drop=0.01)

    assert (report.passed, report.output) == (False, None)
    assert "agreement falls by" in report.reasons[0]
    assert here() == {"noisy.onnx", "rows.npz"}


def test_a_refused_model_is_written_by_force_and_its_evidence_says_so() -> None:
    rows = ROWS.copy()
    rows[:, 0] = 0
    np.savez("rows.npz", x=rows)

    report = run(noisy(), evaluate=Path("rows.npz"), metric="agreement", max_drop=0.01, force=True)

    assert (report.passed, report.is_forced, report.output) == (False, True, Path("out.onnx"))
    made, accuracy = read_sidecar(Path("out.onnx"), digest_file(Path("out.onnx")))
    assert (made.passed, made.figures["forced"], accuracy.passed) == (False, True, False)


def test_a_speedup_that_is_not_reached_is_a_refusal(model: Path) -> None:
    report = run(model, min_speedup=1000.0)

    assert "less than 1000×" in report.reasons[0]
    assert here() == {"model.onnx"}


def test_dynamic_int8_is_refused_for_a_gpu_with_the_reason(model: Path) -> None:
    report = run(model, target="cuda")

    assert report.output is None
    assert "DynamicQuantizeLinear" in report.reasons[0]


def test_blocks_are_refused_for_tensorrt_with_the_reason(model: Path) -> None:
    report = run(model, "int4-weights", target="tensorrt")

    assert report.output is None
    assert "does not know MatMulNBits" in report.reasons[0]


def test_a_gpu_that_is_not_here_is_noted_and_its_speed_not_judged(model: Path) -> None:
    report = run(model, "fp16", target="cuda")

    assert report.passed
    assert any("cuda is not available here" in note for note in report.notes)


def trees(path: Path = Path("trees.onnx")) -> Path:
    from skl2onnx import to_onnx
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(max_depth=3).fit(ROWS, ROWS[:, 0])
    return models.saved(to_onnx(model, ROWS[:1], target_opset={"": 20, "ai.onnx.ml": 3}), path)


@pytest.mark.parametrize("method", ["fp16", "int8-dynamic", "int8-weights"])
def test_trees_are_not_worth_quantizing(method: str) -> None:
    report = run(trees(), method)

    assert report.output is None
    assert "attributes of ai.onnx.ml operators" in report.reasons[0]
    assert (report.size_ratio, report.speedup, report.metric) == (1.0, 1.0, None)


@pytest.mark.parametrize("method", ["fp16", "int8-dynamic"])
def test_a_tiny_model_is_refused_before_anything_is_measured(method: str) -> None:
    report = run(models.saved(models.regressor(), Path("tiny.onnx")), method)

    assert report.output is None
    assert report.reasons == ("its weights are 20 bytes in all, too few for any method to gain",)
    assert report.latency == ()


def test_a_tiny_model_is_made_smaller_by_force() -> None:
    report = run(models.saved(models.classifier(), Path("tiny.onnx")), "fp16", force=True)

    assert report.is_forced
    assert "too few for any method" in report.reasons[0]


def convolution() -> onnx.ModelProto:
    kernel = np.ones((64, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", 1, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["batch", 64, 6, 6])],
        [numpy_helper.from_array(kernel, "w")],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def test_convolutions_are_never_quantized_dynamically() -> None:
    report = run(models.saved(convolution(), Path("conv.onnx")))

    assert "only convolutions" in report.reasons[0]


def test_without_data_the_metric_is_not_measured_and_the_report_says_so(model: Path) -> None:
    report = run(model)

    assert report.passed
    assert report.metric is None
    assert any("--evaluate" in note for note in report.notes)
    (made,) = read_sidecar(Path("out.onnx"), digest_file(Path("out.onnx")))
    assert made.kind == "quantization"


def test_a_model_that_refuses_made_up_rows_asks_for_data() -> None:
    model = models.sequence_lengths(vocabulary=2)
    models.saved(model, Path("tokens.onnx"))

    with pytest.raises(UsageError) as caught:
        run(Path("tokens.onnx"), force=True)

    assert "--evaluate" in str(caught.value.hint)
    assert here() == {"tokens.onnx"}


def test_calibration_data_that_a_method_does_not_need_is_noted(model: Path, data: Path) -> None:
    report = run(model, calibrate=data)

    assert any("needs no calibration" in note for note in report.notes)


@pytest.mark.parametrize("method", ["fp16", "int8-dynamic", "int8-weights"])
def test_a_fixed_batch_is_measured_at_its_size(method: str) -> None:
    model = models.classifier(FEATURES, 3, hidden=128)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    models.saved(model, Path("fixed.onnx"))
    np.savez("rows.npz", x=ROWS)

    report = run(Path("fixed.onnx"), method, evaluate=Path("rows.npz"), max_drop=0.2)

    assert report.passed
    assert [latency.rows for latency in report.latency] == [4]


@pytest.mark.parametrize("method", ["fp16", "int8-dynamic", "int8-weights"])
def test_weights_in_a_file_of_their_own_are_quantized_too(method: str) -> None:
    folder = Path("external")
    folder.mkdir()
    models.save_with_external_data(folder / "model.onnx")

    report = run(folder / "model.onnx", method, force=True)

    assert report.output is not None
    assert [name for name, _ in model_files(Path("out.onnx"))] == ["model.onnx"]


def test_a_model_too_large_for_one_file_keeps_its_weights_through_the_tools(model: Path, tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    prepared, quantized = tmp_path / "prepared.onnx", tmp_path / "quantized.onnx"

    is_large = prepare(model, prepared, tmp_path, max_one_file_bytes=1000)
    with quiet():
        quantize_dynamic(prepared, quantized, use_external_data_format=is_large)

    assert is_large
    assert (tmp_path / "prepared.onnx.data").exists()
    onnx.checker.check_model(quantized)


@pytest.mark.parametrize("step", ["quantize to int8-dynamic", "evaluate", "measure"])
def test_an_interrupt_leaves_no_file_behind(model: Path, data: Path, step: str) -> None:
    def interrupt(current: str, done: int, total: int | None) -> None:
        if current == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, evaluate=data, progress=interrupt)

    assert here() == {"model.onnx", "rows.npz"}


@pytest.mark.parametrize(
    ("options", "error", "fact"),
    [
        pytest.param({"method": "int8-dynamc"}, UsageError, "no quantization method 'int8-dynamc'", id="method"),
        pytest.param({"metric": "acuracy"}, UsageError, "no metric 'acuracy'", id="metric"),
        pytest.param({"evaluate": Path("none.npz")}, NotFound, "none.npz", id="data"),
        pytest.param({"evaluate": Path("other.npz")}, InvalidInput, "no column for input 'x'", id="other data"),
        pytest.param({"out": Path("no/folder.onnx")}, InvalidInput, "cannot write", id="folder"),
        pytest.param({"out": Path("model.onnx")}, UsageError, "'model.onnx' is read", id="onto itself"),
    ],
)
def test_what_cannot_be_done_is_an_error(
    model: Path, options: dict[str, Any], error: type[Exception], fact: str
) -> None:
    np.savez("other.npz", y=ROWS)

    with pytest.raises(error, match=fact):
        run(model, **options)

    assert here() == {"model.onnx", "other.npz"}


def test_a_graph_that_the_tools_cannot_follow_is_unsupported() -> None:
    model = models.classifier(FEATURES, 3, hidden=128)
    model.graph.initializer[0].raw_data = b"short"
    models.saved(model, Path("odd.onnx"))

    with pytest.raises(Unsupported, match=r"cannot quantize 'odd\.onnx'"):
        run(Path("odd.onnx"))

    assert here() == {"odd.onnx"}


def test_a_method_whose_graph_does_not_load_is_said_not_to_suit_the_model() -> None:
    Path("made.onnx").write_bytes(b"no graph")

    with pytest.raises(Unsupported, match="does not suit this model"):
        trial._load_made(Path("made.onnx"), "cpu")


def test_a_graph_that_the_method_spoils_is_said_not_to_suit() -> None:
    spoilt = models.regressor()
    spoilt.graph.node.add().CopyFrom(spoilt.graph.node[0])

    with pytest.raises(Unsupported, match="does not suit this model: the quantized graph is not valid ONNX"):
        check_made(Quantized(spoilt, {}))


def test_nothing_is_printed(model: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(model, evaluate=data)

    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_the_report_is_the_document_of_the_contract(model: Path, data: Path) -> None:
    document = run(model, evaluate=data).to_dict()

    assert {"output", "method", "size_ratio", "speedup", "metric", "passed"} <= set(document)
    assert set(document["metric"]) >= {"name", "before", "after", "drop", "interval"}
    json.dumps(document)


@pytest.mark.parametrize("name", list(QUANTIZERS))
def test_every_method_loads_and_has_no_objection_to_matrices(name: str) -> None:
    census = take_census(models.classifier())

    assert QUANTIZERS[name]().objections(census, "cpu") == []


def test_the_census_counts_weights_by_their_use() -> None:
    census = take_census(models.classifier(4, 3, hidden=8))

    assert census.matrix_bytes == 4 * (4 * 8 + 8 * 3)
    assert census.float_bytes == census.matrix_bytes + 4 * (8 + 3)
    assert (census.table_bytes, census.conv_bytes, census.ml_nodes) == (0, 0, 0)


def test_the_census_sees_weights_in_constant_nodes() -> None:
    weight = numpy_helper.from_array(np.zeros((4, 2), np.float32), "held")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Constant", [], ["unused"], value_float=1.0),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [])

    assert take_census(helper.make_model(graph)).matrix_bytes == 32


def test_nodes_are_put_in_the_order_of_what_they_read() -> None:
    nodes = [
        helper.make_node("Abs", ["b"], ["c"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Neg", ["x"], ["a"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [])

    sort_nodes(graph)

    assert [node.output[0] for node in graph.node] == ["a", "b", "c"]


def test_a_branch_comes_after_what_it_reads_from_around_it() -> None:
    inner = helper.make_graph([helper.make_node("Neg", ["late"], ["t"])], "b", [], [])
    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Neg", ["x"], ["late"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [])

    sort_nodes(graph)

    assert [node.op_type for node in graph.node] == ["Neg", "If"]


def test_a_cycle_is_left_as_it_is() -> None:
    nodes = [helper.make_node("Neg", ["b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    graph = helper.make_graph(nodes, "g", [], [])

    sort_nodes(graph)

    assert [node.output[0] for node in graph.node] == ["a", "b"]
