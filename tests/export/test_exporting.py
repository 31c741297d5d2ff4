"""The whole way: what is written, what is not, and what lies beside it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor

from mlserve.core.digests import digest_file
from mlserve.core.evidence import read_sidecar
from mlserve.errors import InvalidInput, NotFound, UsageError
from mlserve.export.axes import parse_axes
from mlserve.graph.document import load_graph
from mlserve.graph.packaging import model_files, read_manifest
from mlserve.graph.properties import get_properties
from tests import models
from tests.export.exports import NOW, answers, pickled, run_export, saved_rows

ROWS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def line() -> Path:
    return pickled(LinearRegression().fit(ROWS, ROWS @ [1.0, -2.0, 3.0, 0.5]))


def here() -> set[str]:
    return {path.name for path in Path().iterdir()}


def test_the_model_and_its_evidence_are_written() -> None:
    report = run_export(line(), sample=saved_rows(x=ROWS), allow_pickle=True)

    assert here() == {"model.joblib", "rows.npz", "out.onnx", "out.onnx.evidence.json"}
    assert report.output == Path("out.onnx")
    assert report.digest == digest_file(Path("out.onnx"))
    (evidence,) = read_sidecar(Path("out.onnx"), report.digest)
    assert (evidence.kind, evidence.passed, evidence.measured_at, evidence.measured_by) == (
        "parity",
        True,
        NOW,
        "tester",
    )
    assert evidence.figure("rows_over") == 0
    assert evidence.data_digest == digest_file(Path("rows.npz"))
    assert evidence.figures["source_digest"] == digest_file(Path("model.joblib"))
    assert {"mlserve", "scikit-learn", "skl2onnx"} <= set(evidence.tools)


def test_the_file_says_how_it_was_made_and_not_when() -> None:
    run_export(line(), sample=saved_rows(x=ROWS), allow_pickle=True)

    properties = get_properties(load_graph(Path("out.onnx")))
    assert properties["mlserve.framework"] == "sklearn"
    assert "skl2onnx" in json.loads(properties["mlserve.tools"])
    assert set(properties) == {"mlserve.framework", "mlserve.tools"}


def lying() -> Any:
    """A model that answers the sample otherwise than what is converted of it."""

    class Liar(LinearRegression):  # type: ignore[misc]
        def predict(self, table: Any) -> Any:
            return super().predict(table) + 1

    model = LinearRegression().fit(ROWS, ROWS[:, 0])
    model.predict = Liar.predict.__get__(Liar().fit(ROWS, ROWS[:, 0]))
    return model


def test_a_failed_parity_is_a_report_and_writes_nothing() -> None:
    Path("own.py").write_text("from tests.export.test_exporting import lying\n")

    report = run_export("own.py:lying", sample=saved_rows(x=ROWS))

    assert (report.passed, report.output, report.parity.rows_over) == (False, None, 20)
    assert "20 of 20 rows differ" in report.reasons[0]
    assert report.to_dict()["output"] is None
    assert here() == {"own.py", "rows.npz"}


def test_a_failed_parity_leaves_an_older_file_alone() -> None:
    Path("own.py").write_text("from tests.export.test_exporting import lying\n")
    Path("out.onnx").write_text("older")
    Path("out.onnx.evidence.json").write_text("older too")

    run_export("own.py:lying", sample=saved_rows(x=ROWS))

    assert Path("out.onnx").read_text() == "older"
    assert Path("out.onnx.evidence.json").read_text() == "older too"


def test_mismatches_can_be_allowed() -> None:
    Path("own.py").write_text("from tests.export.test_exporting import lying\n")

    report = run_export("own.py:lying", sample=saved_rows(x=ROWS), allow_mismatch=20)

    assert report.passed
    assert report.parity.rows_over == 20


@pytest.mark.parametrize("step", ["load", "convert", "compare"])
def test_an_interrupt_leaves_no_file_behind(step: str) -> None:
    source, sample = line(), saved_rows(x=ROWS)

    def interrupt(current: str, done: int, total: int | None) -> None:
        if current == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_export(source, sample=sample, allow_pickle=True, progress=interrupt)

    assert here() == {"model.joblib", "rows.npz"}


def test_an_opset_that_the_runtime_does_not_load_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="opset 99 is newer"):
        run_export(line(), allow_pickle=True, opset=99)

    assert here() == {"model.joblib"}


def test_progress_counts_the_rows_of_the_sample() -> None:
    seen: list[tuple[str, int, int | None]] = []

    run_export(line(), sample=saved_rows(x=ROWS), allow_pickle=True, progress=lambda *step: seen.append(step))

    assert seen == [("load", 0, None), ("convert", 0, None), ("compare", 20, 20)]


def test_the_report_is_the_document_of_the_contract() -> None:
    document = run_export(line(), sample=saved_rows(x=ROWS), allow_pickle=True).to_dict()

    assert document["output"] == "out.onnx"
    assert document["framework"] == "sklearn"
    assert document["signature"]["inputs"][0]["name"] == "x"
    assert {"passed", "max_abs", "max_rel", "rows", "rows_over"} <= set(document["parity"])
    json.dumps(document)


def test_an_onnx_file_passes_through_and_answers_as_before() -> None:
    models.saved(models.classifier(), Path("in.onnx"))

    report = run_export("in.onnx", sample=saved_rows(x=ROWS))

    assert (report.framework, report.passed, report.parity.max_abs) == ("onnx", True, 0.0)
    before, after = (answers(path, {"x": ROWS})["probabilities"] for path in (Path("in.onnx"), Path("out.onnx")))
    assert before.tolist() == after.tolist()


def test_an_onnx_file_may_be_replaced_by_itself() -> None:
    models.saved(models.classifier(), Path("in.onnx"))

    report = run_export("in.onnx", Path("in.onnx"))

    assert report.digest == digest_file(Path("in.onnx"))


def test_an_onnx_file_newer_than_the_runtime_is_brought_down() -> None:
    model = models.classifier()
    model.ir_version = 14
    del model.opset_import[:]
    model.opset_import.add(domain="", version=27)
    models.saved(model, Path("in.onnx"))

    report = run_export("in.onnx")

    assert report.passed
    assert any("opset 27 to 26" in note for note in report.notes)
    assert any("cannot be run here" in note for note in report.notes)
    (evidence,) = read_sidecar(Path("out.onnx"), report.digest)
    assert evidence.passed is None


def test_made_up_rows_that_a_model_refuses_are_said_to_prove_nothing() -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    shape = onnx.numpy_helper.from_array(np.array([7, 1]), "shape")
    model = helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", 1, ["batch"])],
            [helper.make_tensor_value_info("y", 1, ["rows", 1])],
            [shape],
        ),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    models.saved(model, Path("in.onnx"))

    report = run_export("in.onnx")

    assert report.passed
    assert report.parity.rows == 0
    assert any("made-up inputs were refused" in note for note in report.notes)


def wide() -> Path:
    """A network with weights of more than a kilobyte."""
    model = MLPRegressor(hidden_layer_sizes=[64], max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pickled(model.fit(ROWS, ROWS[:, 0]))


def test_weights_of_a_large_model_lie_in_one_file_beside_the_graph() -> None:
    report = run_export(wide(), sample=saved_rows(x=ROWS), allow_pickle=True, max_one_file_bytes=500)

    assert here() == {"model.joblib", "rows.npz", "out.onnx", "out.onnx.data", "out.onnx.evidence.json"}
    assert read_manifest(Path("out.onnx")).digest == report.digest
    assert [name for name, _ in model_files(Path("out.onnx"))] == ["model.onnx", "out.onnx.data"]
    given = answers(Path("out.onnx"), {"x": ROWS})["prediction"]
    assert given.shape[0] == 20


def test_the_pair_is_replaced_by_one_file_without_rests() -> None:
    run_export(wide(), sample=saved_rows(x=ROWS), allow_pickle=True, max_one_file_bytes=500)

    run_export(wide(), sample=saved_rows(x=ROWS), allow_pickle=True)

    assert "out.onnx.data" not in here()


def test_a_large_model_that_fails_leaves_neither_file() -> None:
    run_export(wide(), sample=saved_rows(x=ROWS), allow_pickle=True, max_one_file_bytes=500, rtol=0, atol=0)

    assert here() == {"model.joblib", "rows.npz"}


@pytest.mark.parametrize("model", [models.fixed_shape(rows=2), models.scalar(), models.two_inputs()], ids=str)
def test_models_of_every_shape_pass_through(model: onnx.ModelProto) -> None:
    models.saved(model, Path("in.onnx"))

    assert run_export("in.onnx").passed


def test_a_fixed_batch_is_compared_in_calls_of_its_size() -> None:
    models.saved(models.fixed_shape(rows=5), Path("in.onnx"))

    assert run_export("in.onnx", sample=saved_rows(x=ROWS)).parity.rows == 20


@pytest.mark.parametrize(
    ("source", "options", "error", "fact"),
    [
        pytest.param("nowhere.onnx", {}, NotFound, "nowhere.onnx", id="no source"),
        pytest.param("in.onnx", {"framework": "onxn"}, UsageError, "no exporter 'onxn'", id="no framework"),
        pytest.param("in.onnx", {"sample": Path("none.npz")}, NotFound, "none.npz", id="no sample"),
        pytest.param("in.onnx", {"dynamic": "0=batch"}, UsageError, "axes of an ONNX model", id="axes"),
        pytest.param("in.onnx", {"dynamic": "batch"}, UsageError, "does not name an axis", id="axes misspelt"),
        pytest.param("in.onnx", {"out": Path("no/folder.onnx")}, InvalidInput, "cannot write", id="no folder"),
        pytest.param("broken.onnx", {}, InvalidInput, "cut short", id="broken"),
    ],
)
def test_what_cannot_be_done_is_an_error_and_writes_nothing(
    source: str, options: dict[str, Any], error: type[Exception], fact: str
) -> None:
    models.saved(models.classifier(), Path("in.onnx"))
    Path("broken.onnx").write_bytes(Path("in.onnx").read_bytes()[:40])

    with pytest.raises(error, match=fact):
        run_export(source, **({"out": Path("out.onnx")} | options))

    assert here() == {"in.onnx", "broken.onnx"}


def test_neither_the_sample_nor_weights_of_the_source_are_overwritten() -> None:
    source = models.save_with_external_data(Path("in.onnx"), location="other.onnx.data")

    with pytest.raises(UsageError, match=r"'other\.onnx\.data' is read and would be overwritten"):
        run_export(source, out=Path("other.onnx"))
    with pytest.raises(UsageError, match=r"'model\.joblib' is read"):
        run_export(line(), allow_pickle=True, out=Path("model.joblib"))
    with pytest.raises(UsageError, match=r"'rows\.npz' is read"):
        run_export(line(), sample=saved_rows(x=ROWS), allow_pickle=True, out=Path("rows.npz"))

    assert here() == {"in.onnx", "other.onnx.data", "model.joblib", "rows.npz"}


def test_a_folder_that_cannot_be_written_is_told_before_the_model_is_loaded() -> None:
    Path("own.py").write_text("raise SystemExit('loaded')\n")

    with pytest.raises(InvalidInput, match="cannot write"):
        run_export("own.py:model", out=Path("absent/out.onnx"))


def test_a_framework_can_be_named() -> None:
    report = run_export(line(), framework="sklearn", sample=saved_rows(x=ROWS), allow_pickle=True)

    assert report.framework == "sklearn"


def test_an_object_of_another_framework_than_named_is_refused() -> None:
    Path("own.py").write_text("VALUE = 3\n")

    with pytest.raises(InvalidInput, match="not a scikit-learn estimator"):
        run_export("own.py:VALUE", framework="sklearn")
    with pytest.raises(InvalidInput, match="not a torch module"):
        run_export("own.py:VALUE", framework="torch", sample=saved_rows(x=ROWS))


def test_no_axes_at_all_is_a_word() -> None:
    assert parse_axes("none") == {}
