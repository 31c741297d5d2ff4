"""Folders of transformers become graphs that answer as transformers does, by batch, length and padding."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.graph.document import load_graph, save_graph
from mlserve.graph.packaging import model_files
from mlserve.graph.properties import get_properties
from mlserve.runtime.certificate import certify
from mlserve.runtime.model import load_model
from mlserve.runtime.threads import ThreadPlan
from tests.export import checkpoints
from tests.export.exports import answers, run_export, saved_rows

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("make", "task", "outputs"),
    [
        pytest.param(
            checkpoints.bert, "feature-extraction", {"last_hidden_state": ("batch", "sequence", 32)}, id="bert"
        ),
        pytest.param(
            checkpoints.distilbert, "token-classification", {"logits": ("batch", "sequence", 5)}, id="distilbert"
        ),
        pytest.param(checkpoints.roberta, "text-classification", {"logits": ("batch", 3)}, id="roberta"),
    ],
)
def test_an_encoder_answers_as_its_original_at_every_shape_with_padded_rows(make, task, outputs) -> None:
    report = run_export(make(Path("model")))

    assert report.passed
    assert report.framework == "transformers"
    assert {check.name for check in report.parity.checks} == {
        "sample", "batch of 1", "batch of 3", "sequence of 6", "sequence of 15",
    }  # fmt: skip
    assert report.parity.max_abs < 1e-5  # float32 sums in another order
    assert {spec.name: spec.dims for spec in report.signature.outputs} == outputs
    assert {spec.dims for spec in report.signature.inputs} == {("batch", "sequence")}
    assert get_properties(load_graph(Path("out.onnx")))["mlserve.task"] == task


@pytest.mark.parametrize("make", [checkpoints.llama, checkpoints.gpt2])
def test_a_decoder_answers_as_its_original_with_and_without_a_past(make) -> None:
    report = run_export(make(Path("model")))

    assert report.passed
    assert {check.name for check in report.parity.checks} == {
        "sample", "batch of 1", "batch of 3", "no past", "one token", "a longer past",
    }  # fmt: skip
    assert report.parity.max_abs < 1e-5
    inputs = {spec.name: spec.dims for spec in report.signature.inputs}
    assert inputs["attention_mask"] == ("batch", "total_sequence")
    assert inputs["past_key_values.1.value"][::2] == ("batch", "past_sequence")
    assert report.signature.output("present.1.key").dims[::2] == ("batch", "total_sequence")


def test_tokens_in_two_steps_over_the_past_are_as_in_one() -> None:
    run_export(checkpoints.llama(Path("model")))
    ids = np.array([[5, 9, 23, 41, 7]])
    positions = np.arange(5)[None]
    empty = {
        f"past_key_values.{n}.{kind}": np.zeros((1, 1, 0, 16), np.float32) for n in (0, 1) for kind in ("key", "value")
    }

    whole = answers(
        Path("out.onnx"),
        {"input_ids": ids, "attention_mask": np.ones((1, 5), np.int64), "position_ids": positions, **empty},
    )
    first = answers(
        Path("out.onnx"),
        {
            "input_ids": ids[:, :3],
            "attention_mask": np.ones((1, 3), np.int64),
            "position_ids": positions[:, :3],
            **empty,
        },
    )
    past = {name.replace("present", "past_key_values"): array for name, array in first.items() if name != "logits"}
    second = answers(
        Path("out.onnx"),
        {
            "input_ids": ids[:, 3:],
            "attention_mask": np.ones((1, 5), np.int64),
            "position_ids": positions[:, 3:],
            **past,
        },
    )

    # Sums in another order, in float32.
    np.testing.assert_allclose(second["logits"], whole["logits"][:, 3:], atol=1e-5)


@pytest.mark.parametrize(
    ("modes", "normalise"),
    [
        pytest.param(("mean",), True, id="mean, normalised"),
        pytest.param(("cls",), False, id="cls"),
        pytest.param(("max",), False, id="max"),
        pytest.param(("cls", "max", "mean"), True, id="all, normalised"),
    ],
)
def test_pooling_is_that_of_sentence_transformers(modes, normalise) -> None:
    report = run_export(checkpoints.sentences(Path("model"), modes, normalise=normalise))

    assert report.passed
    assert {spec.name: spec.dims for spec in report.signature.outputs} == {
        "sentence_embedding": ("batch", 32 * len(modes))
    }
    model = load_model(Path("out.onnx"), device="cpu", threads=ThreadPlan(1, 1))
    certificate = certify(model)
    assert certificate.batchable
    assert certificate.padding is not None
    assert certificate.padding.is_inert


def test_the_same_folder_gives_the_same_clean_bytes() -> None:
    folder = checkpoints.sentences(Path("model"))

    one, other = (run_export(folder, Path(name)) for name in ("one.onnx", "other.onnx"))

    assert one.digest == other.digest
    model = onnx.load("one.onnx")
    assert model.ir_version <= 10
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]
    content = Path("one.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path.cwd()).encode() not in content
    evidence = json.loads(Path("one.onnx.evidence.json").read_text())
    assert evidence["evidence"][0]["figures"]["source_digest"].startswith("sha256:")


def test_no_name_is_given_twice_where_parts_are_joined() -> None:
    """The encoder, the pooling and the whole each name their values; one name for two would not load."""
    run_export(checkpoints.sentences(Path("model")))

    names = [name for node in load_graph(Path("out.onnx")).graph.node for name in node.output]
    assert len(names) == len(set(names))


def test_weights_above_the_limit_lie_in_one_file_beside_the_graph() -> None:
    run_export(checkpoints.bert(Path("model")))

    save_graph(load_graph(Path("out.onnx")), Path("large.onnx"), max_one_file_bytes=10_000)

    assert [name for name, _ in model_files(Path("large.onnx"))] == ["model.onnx", "large.onnx.data"]
    tokens = {name: np.ones((2, 4), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    np.testing.assert_array_equal(
        answers(Path("large.onnx"), tokens)["last_hidden_state"], answers(Path("out.onnx"), tokens)["last_hidden_state"]
    )


def test_a_sample_of_tokens_is_compared_row_by_row() -> None:
    tokens = np.random.default_rng(0).integers(5, 90, (7, 9))
    sample = saved_rows(input_ids=tokens, attention_mask=np.ones_like(tokens))

    report = run_export(checkpoints.roberta(Path("model")), sample=sample)

    assert report.parity.rows == 7


def test_labels_go_with_the_graph() -> None:
    folder = checkpoints.bert(Path("model"), "BertForSequenceClassification", id2label={0: "spam", 1: "ham"})

    run_export(folder)

    assert json.loads(get_properties(load_graph(Path("out.onnx")))["mlserve.labels"]) == ["spam", "ham"]


def test_a_task_can_be_asked_for() -> None:
    report = run_export(checkpoints.bert(Path("model"), "BertForMaskedLM"), task="feature-extraction")

    assert report.signature.output("last_hidden_state").dims == ("batch", "sequence", 32)


def test_a_name_on_a_hub_is_no_folder() -> None:
    with pytest.raises(NotFound, match=r"no folder 'bert-base-uncased'") as caught:
        run_export("bert-base-uncased", framework="transformers")

    assert "nothing is fetched" in str(caught.value.hint)


def test_a_folder_without_a_model_is_not_found() -> None:
    Path("empty").mkdir()

    with pytest.raises(NotFound, match=r"config\.json"):
        run_export("empty", framework="transformers")


def test_pickled_weights_are_read_on_demand_only() -> None:
    folder = checkpoints.roberta(Path("model"))
    _as_pickle(folder)

    with pytest.raises(UsageError, match=r"pickles") as caught:
        run_export(folder)

    assert "--allow-pickle" in str(caught.value.hint)
    assert run_export(folder, allow_pickle=True).passed


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        pytest.param(lambda at: _cut(at / "model.safetensors"), InvalidInput, "cannot be loaded", id="cut weights"),
        pytest.param(lambda at: _cut(at / "config.json"), InvalidInput, "cannot be loaded", id="cut config"),
        pytest.param(lambda at: (at / "model.safetensors").unlink(), NotFound, "no weights", id="no weights"),
        pytest.param(
            lambda at: checkpoints.changed(at, model_type="own", auto_map={"AutoConfig": "own.Config"}),
            Unsupported,
            "never run",
            id="own code",
        ),
        pytest.param(
            lambda at: checkpoints.changed(at, quantization_config={"quant_method": "bitsandbytes"}),
            Unsupported,
            "quantized already",
            id="quantized",
        ),
        pytest.param(lambda at: checkpoints.changed(at, architectures=[]), Unsupported, "no task", id="no task"),
        pytest.param(
            lambda at: checkpoints.changed(at, hidden_size=64),
            InvalidInput,
            "lacks weights|cannot be loaded",
            id="other sizes",
        ),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_sentence(spoil, error, says) -> None:
    folder = checkpoints.roberta(Path("model"))
    spoil(folder)

    with pytest.raises(error, match=says) as caught:
        run_export(folder)

    assert "\n" not in caught.value.message
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"task": "fill-in"}, "no task 'fill-in'", id="task"),
        pytest.param({"opset": 17}, "operator sets 18 to 20", id="opset"),
        pytest.param({"dynamic": "1=sequence"}, "dynamic already", id="dynamic"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, says) -> None:
    with pytest.raises(UsageError, match=says):
        run_export(checkpoints.roberta(Path("model")), **options)


def test_a_task_whose_weights_are_missing_is_refused_and_not_made_up() -> None:
    with pytest.raises(InvalidInput, match="lacks weights for text-classification: classifier"):
        run_export(checkpoints.bert(Path("model")), task="text-classification")


@pytest.mark.parametrize(
    ("modes", "kind", "says"),
    [
        pytest.param(("weightedmean_tokens",), None, "weightedmean", id="mode"),
        pytest.param(("mean",), "Dense", "Dense", id="module"),
    ],
)
def test_other_modules_of_sentence_transformers_are_refused(modes, kind, says) -> None:
    folder = checkpoints.sentences(Path("model"), modes)
    if kind:
        modules = json.loads((folder / "modules.json").read_text())
        checkpoints.write(folder / "modules.json", [*modules, {**modules[1], "type": f"models.{kind}"}])

    with pytest.raises(Unsupported, match=says):
        run_export(folder)


def test_only_checkpoints_have_a_task() -> None:
    with pytest.raises(UsageError, match="one use"):
        run_export("model.onnx", task="text-classification")


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _as_pickle(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    shutil.rmtree(folder / ".cache", ignore_errors=True)
