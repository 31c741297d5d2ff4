"""export of a scikit-learn pipeline: parity is the answer, exit 7 where it fails, pickles only when allowed."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.cli.conftest import Run
from tests.export import checkpoints
from tests.models import labelled_classifier, saved


@pytest.fixture
def pipeline(clean_environment: Path) -> Path:
    """A trained pipeline of three features as ``pipeline.joblib``, and ``held_out.csv`` with its label."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(60, 3))
    label = (features[:, 0] > 0).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, label)
    joblib.dump(model, clean_environment / "pipeline.joblib")
    header = "a,b,c,label"
    table = np.column_stack([features, label])
    np.savetxt(clean_environment / "held_out.csv", table, delimiter=",", header=header, comments="", fmt="%.6f")
    return clean_environment / "pipeline.joblib"


def test_a_pickle_is_code_and_needs_to_be_allowed(run: Run, pipeline: Path) -> None:
    done = run("export", pipeline, "-o", "out.onnx", "--sample", "held_out.csv", "--json")

    assert done.code in (2, 9)
    assert "--allow-pickle" in (done.error["hint"] or "") + done.error["message"]
    assert not Path("out.onnx").exists()


def test_an_export_proves_parity_and_leaves_the_evidence(run: Run, project: Path, pipeline: Path) -> None:
    done = run("export", pipeline, "-o", "out.onnx", "--sample", "held_out.csv", "--allow-pickle", "--json")

    report = done.document
    assert {"output", "framework", "signature", "parity"} <= set(report)
    assert {"passed", "max_abs", "max_rel", "rows", "rows_over"} <= set(report["parity"])
    assert report["framework"] == "sklearn"
    assert report["parity"]["passed"] is True
    run("register", "fraud", "out.onnx")
    evidence = run("show", "fraud:1", "--json").document["evidence"]
    assert [item["origin"] for item in evidence if item["kind"] == "parity"] == ["imported"]


def test_an_export_tells_a_person_and_a_script_what_was_made(run: Run, pipeline: Path) -> None:
    words = ("export", pipeline, "-o", "out.onnx", "--sample", "held_out.csv", "--allow-pickle")

    person, quiet = run(*words), run(*words, "--quiet")

    assert person.out.startswith("✓ sklearn model exported to out.onnx (60 rows compared")
    assert "mlserve register NAME out.onnx" in person.err
    assert quiet.out == "out.onnx\n"


def test_parity_that_fails_is_exit_7_and_writes_nothing(run: Run, pipeline: Path) -> None:
    words = (
        "export",
        pipeline,
        "-o",
        "out.onnx",
        "--sample",
        "held_out.csv",
        "--allow-pickle",
        "--rtol",
        "0",
        "--atol",
        "0",
    )

    script, person = run(*words, "--json"), run(*words)

    assert script.code == person.code == 7
    assert script.document["parity"]["passed"] is False
    assert person.out.startswith("✗ out.onnx is not written:")
    assert not Path("out.onnx").exists()
    assert not Path("out.onnx.evidence.json").exists()


def test_tolerances_come_from_the_settings(run: Run, project: Path, pipeline: Path) -> None:
    (project / "mlserve.toml").write_text("[export]\nrtol = 0.0\natol = 0.0\n")

    done = run("export", pipeline, "-o", "out.onnx", "--sample", "held_out.csv", "--allow-pickle")

    assert done.code == 7


def test_an_onnx_file_passes_through_with_its_checks(run: Run, clean_environment: Path) -> None:
    saved(labelled_classifier(), clean_environment / "in.onnx")

    done = run("export", "in.onnx", "-o", "out.onnx", "--json")

    assert done.document["framework"] == "onnx"
    assert json.loads(Path("out.onnx.evidence.json").read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("missing.joblib",), 4, id="no file"),
        pytest.param(("in.onnx", "--framework", "skleran"), 2, id="no framework"),
        pytest.param(("in.onnx", "--sample", "missing.csv"), 4, id="no sample"),
        pytest.param(("in.onnx", "--rtol", "x"), 2, id="no number"),
    ],
)
def test_what_cannot_be_exported_is_told(run: Run, clean_environment: Path, words: tuple[str, ...], code: int) -> None:
    saved(labelled_classifier(), clean_environment / "in.onnx")

    assert run("export", *words, "-o", "out.onnx", "--allow-pickle", "--json").error["code"] == code


def test_weights_are_exported_with_the_function_that_builds_their_module(run: Run, clean_environment: Path) -> None:
    Path("nets.py").write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(3, 2))\n")
    torch.save(torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict(), "weights.pt")
    np.savez("rows.npz", input=np.ones((4, 3), np.float32))
    words = ("export", "weights.pt", "--framework", "torch", "-o", "out.onnx", "--sample", "rows.npz")

    told, done = run(*words, "--json"), run(*words, "--factory", "nets.py:make", "--json")

    assert told.error["code"] == 2
    assert "--factory" in told.error["hint"]
    assert (done.code, done.document["framework"]) == (0, "torch")


def test_the_ir_of_today_is_refused_by_register_and_cured_by_export(run: Run, project: Path) -> None:
    values = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2])] for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", *values)), "in.onnx")

    refused = run("register", "relu", "in.onnx", "--json").error
    run("export", "in.onnx", "-o", "out.onnx")
    registered = run("register", "relu", "out.onnx", "--json")

    assert (refused["code"], "IR 14" in refused["message"]) == (9, True)
    assert "mlserve export" in refused["hint"]
    assert registered.document["ref"] == "relu:1"


def test_a_checkpoint_with_its_tokenizer_predicts_from_a_column_of_text(run: Run, project: Path) -> None:
    checkpoints.sentences(Path("model"))
    Path("rows.csv").write_text('text,label\nhello world,1\n"",0\n', encoding="utf-8")

    done = run("export", "model", "-o", "out.onnx", "--text", "--sample", "rows.csv", "--json")

    assert done.document["framework"] == "transformers"
    assert done.document["signature"]["inputs"][0]["datatype"] == "BYTES"
    run("register", "texts", "out.onnx")
    vectors = run("predict", "texts:1", "rows.csv", "--json").document["sentence_embedding"]
    assert [len(vector) for vector in vectors] == [checkpoints.WIDTH] * 2


def test_a_model_of_a_hub_is_not_fetched(run: Run, clean_environment: Path) -> None:
    done = run("export", "sentence-transformers/all-MiniLM-L6-v2", "-o", "out.onnx", "--text", "--json")

    assert done.code == 4
    assert "folder" in done.error["hint"]
