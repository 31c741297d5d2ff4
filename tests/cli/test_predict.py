"""predict on a ref, a file and a server; the same rows get the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run
from tests.models import (
    batch_dependent,
    fixed_shape,
    save_with_external_data,
    saved,
    scalar,
    sequence_lengths,
    two_inputs,
)


def test_a_file_answers_with_its_outputs_by_name(run: Run, model: Path, rows: Path) -> None:
    document = run("predict", model, rows, "--json").document

    assert list(document) == ["label", "probabilities"]
    assert np.argmax(document["probabilities"], axis=1).tolist() == document["label"]


def test_a_person_sees_a_row_a_line(run: Run, model: Path, rows: Path) -> None:
    lines = run("predict", model, rows).out.splitlines()

    assert lines[0].split() == ["LABEL", "PROBABILITIES"]
    assert len(lines) == 6


def test_a_version_answers_as_its_file(run: Run, fraud: Path, model: Path, rows: Path) -> None:
    by_file, by_version = run("predict", model, rows, "--json"), run("predict", "fraud:1", rows, "--json")
    run("promote", "fraud:1", "--to", "production")

    assert by_version.document == by_file.document == run("predict", "fraud", rows, "--json").document


def test_outputs_are_written_to_a_file(run: Run, model: Path, rows: Path, clean_environment: Path) -> None:
    done = run("predict", model, rows, "-o", clean_environment / "out.npz", "--json")

    with np.load(clean_environment / "out.npz") as written:
        assert written["label"].tolist() == run("predict", model, rows, "--json").document["label"]
    assert done.document == {
        "output": str(clean_environment / "out.npz"),
        "rows": 5,
        "outputs": ["label", "probabilities"],
    }
    assert run("predict", model, rows, "-o", "o.csv", "--quiet").out == "o.csv\n"
    assert run("predict", model, rows, "-o", "o.jsonl").out == "✓ 5 rows answered, written to o.jsonl\n"


def test_label_columns_are_never_fed_and_others_only_ignored_when_asked(
    run: Run, model: Path, clean_environment: Path
) -> None:
    np.savez(clean_environment / "r.npz", x=np.ones((2, 4), "f4"), truth=np.ones(2), extra=np.ones(2))

    assert run("predict", model, "r.npz", "--json").error["code"] == 9
    assert run("predict", model, "r.npz", "--label", "truth", "--ignore-extra").code == 0


def test_many_rows_go_in_pieces_and_come_back_in_order(run: Run, model: Path, clean_environment: Path) -> None:
    many = np.random.default_rng(3).normal(size=(2500, 4)).astype(np.float32)
    np.savez(clean_environment / "many.npz", x=many)
    np.savez(clean_environment / "last.npz", x=many[-1:])

    whole = run("predict", model, "many.npz", "--json").document

    assert len(whole["label"]) == 2500
    np.testing.assert_allclose(
        whole["probabilities"][-1:], run("predict", model, "last.npz", "--json").document["probabilities"], rtol=1e-6
    )


def test_rows_that_depend_on_each_other_stay_together(run: Run, clean_environment: Path) -> None:
    rows = np.arange(3000 * 4, dtype=np.float32).reshape(3000, 4)
    np.savez(clean_environment / "many.npz", x=rows)
    path = saved(batch_dependent(), clean_environment / "mean.onnx")

    answers = run("predict", path, "many.npz", "--json").document["y"]

    np.testing.assert_allclose(answers, rows - rows.mean(axis=0), rtol=1e-3, atol=1.0)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        pytest.param("missing.onnx", 4, id="no file"),
        pytest.param("fraud:9", 4, id="no version"),
        pytest.param("nope", 4, id="no model"),
        pytest.param("fraud@prod", 2, id="no stage"),
        pytest.param("http://127.0.0.1:1/v2/models/fraud", 8, id="no server"),
        pytest.param("http://127.0.0.1:1/other", 8, id="no server at all"),
        pytest.param("http://127.0.0.1:1/v2/nonsense", 2, id="no model in the URL"),
        pytest.param("http://", 2, id="no URL"),
    ],
)
def test_a_target_that_is_not_there_is_told(run: Run, fraud: Path, rows: Path, target: str, code: int) -> None:
    assert run("predict", target, rows, "--json").error["code"] == code


@pytest.mark.parametrize("name", ["scores.txt", "scores"])
def test_a_form_that_cannot_be_written_is_misuse_before_any_work(run: Run, model: Path, name: str) -> None:
    done = run("predict", model, "absent.npz", "-o", name, "--json")

    assert (done.code, done.error["hint"]) == (2, "one of .npz, .parquet, .csv, .json, .jsonl")


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet", "scores.npz", "scores.json"])
def test_a_folder_that_is_not_there_is_told_in_one_way(run: Run, model: Path, rows: Path, name: str) -> None:
    done = run("predict", model, rows, "-o", f"absent/{name}", "--json")

    assert done.error["message"] == f"cannot write 'absent/{name}': no such file or directory"


def test_rows_without_a_suffix_are_told(run: Run, model: Path) -> None:
    assert run("predict", model, "-", "--json").error["message"] == "'-' has no suffix to tell its form by"


def test_the_rows_are_not_overwritten_with_their_answers(run: Run, model: Path, rows: Path) -> None:
    before = rows.read_bytes()

    assert run("predict", model, rows, "-o", rows, "--json").error["code"] == 2
    assert rows.read_bytes() == before


def test_rows_that_are_not_there_are_told(run: Run, model: Path, clean_environment: Path) -> None:
    np.savez(clean_environment / "none.npz", x=np.zeros((0, 4), "f4"))

    assert run("predict", model, "none.npz", "--json").error["code"] == 9
    assert run("predict", model, "missing.npz", "--json").error["code"] == 4


def test_an_answer_without_a_number_is_null(run: Run, model: Path, clean_environment: Path) -> None:
    (clean_environment / "r.json").write_text(json.dumps([{"x": [1.0, None, 0.0, 0.0]}]))

    document = run("predict", model, "r.json", "--json").document

    assert document["probabilities"] == [[None, None, None]]


def test_a_model_of_one_row_gets_the_rows_one_by_one(run: Run, clean_environment: Path) -> None:
    np.savez(clean_environment / "r.npz", x=np.arange(12, dtype=np.float32).reshape(3, 4))

    document = run("predict", saved(fixed_shape(rows=1), Path("fixed.onnx")), "r.npz", "--json").document

    assert document["y"] == (np.arange(12).reshape(3, 4) * 2).tolist()


def test_a_model_without_rows_answers_each_call(run: Run, clean_environment: Path) -> None:
    path = saved(scalar(), clean_environment / "scalar.onnx")
    (clean_environment / "one.jsonl").write_text('{"x": 3.0}\n')
    (clean_environment / "two.jsonl").write_text('{"x": 3.0}\n{"x": 4.0}\n')

    one = run("predict", path, "one.jsonl")

    assert run("predict", path, "one.jsonl", "--json").document == {"y": 6.0}
    assert one.out == "Y\n6\n"
    assert run("predict", path, "two.jsonl", "--json").error["code"] == 9


def test_sequences_of_different_lengths_are_answered_in_order(run: Run, clean_environment: Path) -> None:
    path = saved(sequence_lengths(), clean_environment / "text.onnx")
    lines = ['{"ids": [1, 2, 3]}', '{"ids": [4]}', '{"ids": [1, 2, 3]}']
    (clean_environment / "ids.jsonl").write_text("\n".join(lines) + "\n")

    answers = run("predict", path, "ids.jsonl", "--json").document["embedding"]

    assert len(answers) == 3
    assert answers[0] == answers[2] != answers[1]


def test_several_inputs_and_weights_in_another_file_work_the_same(run: Run, project: Path) -> None:
    np.savez(project / "ab.npz", a=np.ones((2, 4), "f4"), b=np.full((2, 4), 2, "f4"))
    (project / "large").mkdir()
    path = save_with_external_data(project / "large" / "model.onnx")
    np.savez(project / "x.npz", x=np.ones((2, 4), "f4"))
    run("register", "large", path)

    assert run("predict", saved(two_inputs(), Path("two.onnx")), "ab.npz", "--json").document["dot"] == [8.0, 8.0]
    assert len(run("show", "large:1", "--json").document["files"]) == 2
    assert run("predict", "large:1", "x.npz", "--json").document == run("predict", path, "x.npz", "--json").document
