"""SavedModels, exported and compared: where TensorFlow is installed, which ``test_tensorflow_apart`` sees to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.core.evidence import read_sidecar
from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from tests.export.exports import answers, run_export, saved_rows

tf = pytest.importorskip("tensorflow")

ROWS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


WEIGHTS = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


class Model(tf.Module):  # type: ignore[misc]
    """One function, as a signature has it: all functions of a module are saved with it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)
        spec, function = FUNCTIONS[kind]
        self.call = tf.function(lambda x: function(self, x), input_signature=[spec])


FUNCTIONS: dict[str, Any] = {
    "classify": (
        tf.TensorSpec([None, 4], tf.float32, name="x"),
        lambda model, x: {"label": tf.argmax(x @ model.weights, 1), "probabilities": tf.nn.softmax(x @ model.weights)},
    ),
    "count": (
        tf.TensorSpec([None, None], tf.int64, name="x"),
        lambda model, x: {"mean": tf.reduce_mean(tf.cast(x, tf.float32), 1), "total": tf.reduce_sum(x, 1)},
    ),
    "words": (
        tf.TensorSpec([None], tf.string, name="x"),
        lambda model, x: {"bucket": tf.strings.to_hash_bucket_fast(x, 10)},
    ),
    "write": (
        tf.TensorSpec([], tf.string, name="x"),
        lambda model, x: {"written": write(x)},
    ),
}


def write(path: Any) -> Any:
    tf.io.write_file(path, "x")
    return path


def save(kind: str = "classify", folder: Path = Path("saved"), name: str = "serving_default") -> Path:
    model = Model(kind)
    tf.saved_model.save(model, str(folder), signatures={name: model.call})
    return folder


def test_a_folder_is_exported_by_its_signature() -> None:
    report = run_export(save(), sample=saved_rows(x=ROWS))

    assert (report.framework, report.passed, report.reasons) == ("tensorflow", True, ())
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == [("x", ("batch", 4))]
    assert [(spec.name, spec.dims) for spec in report.signature.outputs] == [
        ("label", ("batch",)),
        ("probabilities", ("batch", 3)),
    ]
    assert answers(Path("out.onnx"), {"x": ROWS})["probabilities"].shape == (9, 3)
    (evidence,) = read_sidecar(Path("out.onnx"), report.digest)
    assert str(evidence.figures["source_digest"]).startswith("sha256:")


def test_a_keras_model_saved_for_tensorflow_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    assert keras.backend.backend() == "tensorflow"
    keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(3, 3), keras.layers.Flatten()]).export(
        "saved", verbose=False
    )

    assert run_export("saved").passed


def test_a_keras_file_is_exported_on_the_tensorflow_backend() -> None:
    import keras

    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)]).save("model.keras")

    report = run_export("model.keras")

    assert (report.framework, report.passed) == ("keras", True)
    assert [spec.dims for spec in report.signature.outputs] == [("batch", 3)]


def test_axes_of_any_length_are_compared_at_others() -> None:
    report = run_export(save("count"), sample=saved_rows(x=np.arange(30).reshape(6, 5)))

    assert report.reasons == ()
    assert [check.name for check in report.parity.checks][3:] == ["axis_1 of 2", "axis_1 of 8"]


def test_a_signature_of_another_name_is_taken_where_it_is_the_only_one() -> None:
    assert run_export(save(name="score")).passed


def test_the_same_folder_gives_the_same_bytes() -> None:
    folder = save()

    first, second = (run_export(folder, Path(f"{name}.onnx")) for name in "ab")

    assert first.digest == second.digest


def test_operators_that_touch_files_need_permission() -> None:
    with pytest.raises(UsageError, match="uses WriteFile") as caught:
        run_export(save("write"))

    assert "--allow-pickle" in str(caught.value.hint)


def test_an_operator_that_onnx_does_not_know_is_named() -> None:
    with pytest.raises(Unsupported, match="StringToHashBucketFast"):
        run_export(save("words"))


def damaged(what: str) -> Path:
    folder = save()
    document = folder / "saved_model.pb"
    match what:
        case "cut":
            document.write_bytes(document.read_bytes()[:500])
        case "empty":
            document.write_bytes(b"")
        case "no weights":
            shutil.rmtree(folder / "variables")
        case "weights cut":
            (part,) = (folder / "variables").glob("*.data-*")
            part.write_bytes(part.read_bytes()[:5])
    return folder


@pytest.mark.parametrize("what", ["cut", "empty", "no weights", "weights cut"])
def test_a_damaged_folder_is_invalid_input(what: str) -> None:
    with pytest.raises(InvalidInput, match="saved"):
        run_export(damaged(what))

    assert not Path("out.onnx").exists()


def test_a_folder_of_something_else_is_refused() -> None:
    Path("other").mkdir()

    with pytest.raises(Unsupported, match="folder without a model"):
        run_export("other")
    with pytest.raises(NotFound, match=r"saved_model\.pb"):
        run_export("other", framework="tensorflow")


def test_the_axes_are_those_of_the_signature() -> None:
    with pytest.raises(UsageError, match="axes of a SavedModel"):
        run_export(save(), dynamic="0=batch")
