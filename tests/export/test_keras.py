"""Keras models as people have them, exported and compared; what their files may not do."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.export.keras_inputs import example_inputs, flat_model
from tests.export.exports import answers, run_export, saved_rows

ROWS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def line() -> keras.Model:
    return keras.Sequential(
        [layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.Dense(3, "softmax")]
    )


def convolution() -> keras.Model:
    image = layers.Input((8, 8, 1), name="image")
    inner = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D()(inner))))


def recurrence(length: int | None = 5) -> keras.Model:
    steps = layers.Input((length, 3))
    return keras.Model(steps, layers.Dense(2)(layers.Bidirectional(layers.LSTM(4))(steps)))


def attention() -> keras.Model:
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    inner = layers.Embedding(7, 8)(tokens)
    inner = layers.LayerNormalization()(inner + layers.MultiHeadAttention(2, 4)(inner, inner))
    return keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(inner)))


def several() -> keras.Model:
    left, right = layers.Input((4,), name="left"), layers.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    return keras.Model([left, right], [layers.Dense(2, name="class")(both), layers.Dense(1, name="score")(both)])


def named() -> keras.Model:
    left, right = layers.Input((4,), name="left"), layers.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    return keras.Model({"left": left, "right": right}, {"b": layers.Dense(2)(both), "a": layers.Dense(1)(both)})


Dims = list[tuple[str, tuple[Any, ...]]]
MODELS: dict[str, tuple[Callable[[], keras.Model], Dims, Dims]] = {
    "sequential": (line, [("input", ("batch", 4))], [("output", ("batch", 3))]),
    "convolution": (convolution, [("image", ("batch", 8, 8, 1))], [("output", ("batch", 3))]),
    "recurrence": (recurrence, [("input", ("batch", 5, 3))], [("output", ("batch", 2))]),
    "attention of any length": (attention, [("tokens", ("batch", "tokens_1"))], [("output", ("batch", 2))]),
    "several inputs and outputs": (
        several,
        [("left", ("batch", 4)), ("right", ("batch", 3))],
        [("class", ("batch", 2)), ("score", ("batch", 1))],
    ),
    "inputs and outputs by name": (
        named,
        [("left", ("batch", 4)), ("right", ("batch", 3))],
        [("a", ("batch", 1)), ("b", ("batch", 2))],
    ),
}


@pytest.mark.parametrize(
    ("build", "inputs", "outputs"), [pytest.param(*case, id=name) for name, case in MODELS.items()]
)
def test_every_kind_of_model_answers_as_before(
    build: Callable[[], keras.Model], inputs: Dims, outputs: Dims, capfd: pytest.CaptureFixture[str]
) -> None:
    build().save("model.keras")

    report = run_export("model.keras")

    assert (report.framework, report.passed, report.reasons) == ("keras", True, ())
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == inputs
    assert [(spec.name, spec.dims) for spec in report.signature.outputs] == outputs
    assert {"batch of 1", "batch of 3"} <= {check.name for check in report.parity.checks}
    assert capfd.readouterr().out == ""


def test_sequences_of_other_lengths_are_compared_where_any_will_do() -> None:
    attention().save("model.keras")

    report = run_export("model.keras", sample=saved_rows(tokens=np.arange(35).reshape(7, 5) % 7))

    assert {"tokens_1 of 2", "tokens_1 of 8"} <= {check.name for check in report.parity.checks}


def test_the_same_file_gives_the_same_bytes() -> None:
    several().save("model.keras")

    first, second = (run_export("model.keras", Path(f"{name}.onnx")) for name in "ab")

    assert first.digest == second.digest


def test_a_csv_feeds_a_model_of_one_table() -> None:
    line().save("model.keras")
    Path("rows.csv").write_text("a,b,c,d,label\n1,2,3,4,0\n5,6,7,8,1\n")

    report = run_export("model.keras", sample=Path("rows.csv"))

    assert (report.passed, report.parity.rows) == (True, 2)


def test_recurrence_over_any_length_gets_the_length_of_the_sample() -> None:
    recurrence(None).save("model.keras")

    report = run_export(
        "model.keras", sample=saved_rows(input=np.random.default_rng(0).normal(size=(4, 7, 3)).astype("float32"))
    )

    assert report.passed
    assert report.signature.inputs[0].dims == ("batch", 7, 3)
    assert any("recurrent" in note for note in report.notes)


def test_recurrence_over_any_length_without_a_sample_is_refused() -> None:
    recurrence(None).save("model.keras")

    with pytest.raises(Unsupported, match="recurrent layer") as caught:
        run_export("model.keras")

    assert "--sample" in str(caught.value.hint)


OWN = """
import keras, numpy

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(3)

    def call(self, x):
        return {"scores": self.inner(x)}

def with_example():
    return Own(), numpy.zeros((2, 4), "float32")

def built():
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])

def wide():
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(5)])

def number():
    return 3
"""


@pytest.fixture
def own() -> None:
    Path("own.py").write_text(OWN)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("attribute", "sample"), [("Own", {"x": ROWS}), ("with_example", None), ("built", {"input": ROWS})]
)
def test_a_model_of_the_users_code_is_exported(attribute: str, sample: dict[str, Any] | None) -> None:
    options = {"sample": saved_rows(**sample)} if sample else {}

    assert run_export(f"own.py:{attribute}", **options).passed


@pytest.mark.usefixtures("own")
def test_a_model_that_declares_no_inputs_asks_for_a_sample() -> None:
    with pytest.raises(UsageError, match="what its inputs look like"):
        run_export("own.py:Own")


@pytest.mark.usefixtures("own")
def test_weights_answer_in_the_model_of_the_factory() -> None:
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.save_weights("m.weights.h5")

    report = run_export("m.weights.h5", factory="own.py:built", sample=saved_rows(input=ROWS))

    assert (report.framework, report.passed) == ("keras", True)
    expected = keras.ops.convert_to_numpy(model(ROWS))
    np.testing.assert_allclose(answers(Path("out.onnx"), {"input": ROWS})["output"], expected, atol=1e-5)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("factory", "length", "fact"),
    [
        pytest.param("wide", None, "does not fit the model of the factory", id="other shapes"),
        pytest.param("built", 300, "cannot be read", id="cut short"),
        pytest.param("number", None, "the factory gave a int", id="no model"),
    ],
)
def test_weights_that_do_not_fit_are_refused(factory: str, length: int | None, fact: str) -> None:
    keras.Sequential([layers.Input((4,)), layers.Dense(3)]).save_weights("m.weights.h5")
    Path("m.weights.h5").write_bytes(Path("m.weights.h5").read_bytes()[:length])

    with pytest.raises(InvalidInput, match=fact):
        run_export("m.weights.h5", framework="keras", factory=f"own.py:{factory}")


def test_code_inside_a_file_runs_only_with_permission() -> None:
    model = keras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)])
    model.save("model.keras")

    with pytest.raises(UsageError, match="Lambda") as caught:
        run_export("model.keras")

    assert "--allow-pickle" in str(caught.value.hint)
    assert run_export("model.keras", allow_pickle=True).passed


class Doubling(layers.Layer):
    """A layer of the user's own, which a file only names."""

    def call(self, x: Any) -> Any:
        return x * 2


def test_a_class_that_is_not_there_is_named() -> None:
    keras.Sequential([layers.Input((4,)), Doubling()]).save("model.keras")
    replaced = rewritten("model.keras", "config.json", lambda text: text.replace(b"Doubling", b"Elsewhere"))

    with pytest.raises(InvalidInput, match="the class 'Elsewhere', which is not here") as caught:
        run_export(replaced)

    assert "MODULE:FUNCTION" in str(caught.value.hint)


def rewritten(source: str, member: str, change: Callable[[bytes], bytes]) -> Path:
    """The archive ``source`` as ``other.keras``, ``member`` changed or, where nothing is left of it, left out."""
    with zipfile.ZipFile(source) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile("other.keras", "w") as archive:
        for name, content in held.items():
            if content := change(content) if name == member else content:
                archive.writestr(name, content)
    return Path("other.keras")


@pytest.mark.parametrize(
    ("member", "change", "fact"),
    [
        pytest.param("config.json", lambda content: b"", r"holds no config\.json", id="no configuration"),
        pytest.param("config.json", lambda content: content[:90], "cannot be read|can be read", id="configuration cut"),
        pytest.param("model.weights.h5", lambda content: b"", r"Expected a model\.weights", id="no weights"),
        pytest.param("model.weights.h5", lambda content: content[:200], "truncated file", id="weights cut"),
        pytest.param(
            "config.json",
            lambda content: json.dumps(
                json.loads(content) | {"module": "builtins", "class_name": "eval", "registered_name": None}
            ).encode(),
            "eval",
            id="a class of Python",
        ),
    ],
)
def test_a_damaged_archive_is_invalid_input(member: str, change: Callable[[bytes], bytes], fact: str) -> None:
    line().save("model.keras")

    with pytest.raises((InvalidInput, UsageError), match=fact):
        run_export(rewritten("model.keras", member, change))

    assert not Path("out.onnx").exists()


@pytest.mark.parametrize(
    ("error", "fact", "options"),
    [
        pytest.param(UsageError, "axes of a Keras model", {"dynamic": "1=x"}, id="axes"),
        pytest.param(NotFound, "no file 'none.keras'", {"source": "none.keras"}, id="no file"),
        pytest.param(Unsupported, "before Keras 3", {"source": "old.h5"}, id="old format"),
    ],
)
def test_what_cannot_be_exported_is_refused(error: type[Exception], fact: str, options: dict[str, Any]) -> None:
    line().save("model.keras")
    Path("old.h5").write_bytes(b"x")

    with pytest.raises(error, match=fact):
        run_export(**({"source": "model.keras"} | options))


def test_text_is_refused_by_the_name_of_its_input() -> None:
    class Texts:
        inputs = (keras.KerasTensor((None, 1), dtype="string", name="words"),)

    with pytest.raises(Unsupported, match="input 'words' is text"):
        flat_model(Texts(), None, None)  # type: ignore[arg-type]  # nothing is asked of it


def test_made_up_numbers_stay_within_the_smallest_vocabulary() -> None:
    made = example_inputs(flat_model(attention(), None, None), rows=50)  # type: ignore[arg-type]  # as above

    assert (made["tokens"].min(), made["tokens"].max()) == (0, 6)
