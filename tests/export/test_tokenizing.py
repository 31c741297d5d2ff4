"""A tokenizer in the graph: the same tokens as transformers', so that text goes in and the same answers come out."""

import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.errors import NotFound, Unsupported, UsageError
from mlserve.export.tokenizing import read_tokenizing
from mlserve.export.transformers_examples import TEXTS
from mlserve.export.transformers_loading import load_checkpoint
from mlserve.graph.document import load_graph
from mlserve.graph.properties import get_properties
from mlserve.runtime.certificate import certify
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.threads import ThreadPlan
from tests.export import checkpoints
from tests.export.exports import run_export

pytestmark = pytest.mark.timeout(600)

NAMES = ("input_ids", "attention_mask", "token_type_ids")
ODD = (
    *TEXTS,
    " ",
    "[cls] [ SEP ] [[MASK]]",
    "a" * 99 + " " + "a" * 100 + " " + "a" * 101,
    "cats, CATS! reading",
    "\u2028 \u3000 \ufffd x\ufffdy \U000f0000 \ue000z",
    "hello\U0001f600 world \U0001f923",
)

Pair = tuple[Any, OnnxModel]


@pytest.fixture(scope="module", params=["uncased", "cased", "minilm"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A tokenizer of transformers, and the same as a graph."""
    if request.param == "minilm":
        folder = checkpoints.MINILM
    else:
        folder = checkpoints.sentences(tmp_path_factory.mktemp("model"), lower=request.param == "uncased")
    tokenizing = read_tokenizing(load_checkpoint(str(folder), task=None, allow_pickle=False))
    graph = tokenizing.graph(NAMES, 20)
    return tokenizing, load_model(graph.SerializeToString(), device="cpu", threads=ThreadPlan(1, 1))


@pytest.mark.parametrize("size", [1, 2, 5, len(ODD)])
def test_texts_of_every_kind_have_the_same_tokens_in_batches_of_any_size(pair: Pair, size: int) -> None:
    for start in range(0, len(ODD), size):
        _same(pair, ODD[start : start + size])


def test_every_character_becomes_what_the_original_makes_of_it(pair: Pair, in_full: bool) -> None:
    step = 1 if in_full else 97
    codes = [*range(1, 0x3000), *range(0x3000, 0x110000, step)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]

    for start in range(0, len(characters), 2000):
        _same(pair, [f"a{one}b {one}" for one in characters[start : start + 2000]])


def test_random_texts_have_the_same_tokens(pair: Pair) -> None:
    rng = random.Random(0)
    common = "abcdefgh   ,.!é[]#中ABC"
    rare = [chr(code) for code in range(32, 0x3100) if unicodedata.category(chr(code)) != "Cn"]

    for _ in range(50):
        _same(
            pair,
            [
                "".join(rng.choice(common if rng.random() < 0.8 else rare) for _ in range(rng.randrange(60)))
                for _ in range(rng.randrange(1, 6))
            ],
        )


@pytest.mark.parametrize(
    "make", [checkpoints.sentences, lambda at: checkpoints.bert(at, "BertForSequenceClassification")]
)
def test_a_model_with_its_tokenizer_answers_texts_as_the_original(make) -> None:
    report = run_export(make(Path("model")), text=True)

    assert report.passed
    assert {check.name for check in report.parity.checks} == {"sample", "batch of 1", "batch of 3"}
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == [("text", ("batch",))]
    assert report.tools["onnxruntime-extensions"]
    assert get_properties(load_graph(Path("out.onnx")))["mlserve.max_tokens"] in ("16", "24")


def test_a_sample_of_texts_is_compared(tmp_path: Path) -> None:
    Path("rows.csv").write_text("text,label\nhello world,1\nthe cat reads,0\n", encoding="utf-8")

    report = run_export(checkpoints.sentences(Path("model")), text=True, sample=Path("rows.csv"))

    assert (report.passed, report.parity.rows) == (True, 2)


def test_a_text_has_the_same_answer_beside_others_of_any_length() -> None:
    run_export(checkpoints.sentences(Path("model")), text=True)
    model = load_model(Path("out.onnx"), device="cpu", threads=ThreadPlan(1, 1))

    certificate = certify(model)

    assert certificate.batchable
    assert certificate.max_abs < 1e-6  # of vectors of length 1, in float32
    together = model.run({"text": np.array(ODD, object)})["sentence_embedding"]
    for row, text in enumerate(ODD):
        alone = model.run({"text": np.array([text], object)})["sentence_embedding"]
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


def test_the_same_folder_gives_the_same_bytes_with_its_tokenizer() -> None:
    folder = checkpoints.sentences(Path("model"))

    assert run_export(folder, Path("a.onnx"), text=True).digest == run_export(folder, Path("b.onnx"), text=True).digest


def test_a_text_is_cut_where_sentence_transformers_cuts_it(pair: Pair) -> None:
    tokenizing, graph = pair

    made = graph.run({"text": np.array(["hello " * 1000], object)})

    assert made["input_ids"].shape == (1, tokenizing.max_tokens)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(checkpoints.bert, "an answer for each token", id="no pooling"),
        pytest.param(
            lambda at: checkpoints.bert(at, "BertForTokenClassification"), "answers by the token", id="token labels"
        ),
        pytest.param(checkpoints.gpt2, "answers by the token", id="generation"),
    ],
)
def test_what_has_no_answer_for_a_whole_text_takes_no_text(make, says) -> None:
    with pytest.raises(Unsupported, match=says):
        run_export(make(Path("model")), text=True)


def test_a_folder_without_a_tokenizer_takes_no_text() -> None:
    with pytest.raises(NotFound, match="no tokenizer"):
        run_export(checkpoints.roberta(Path("model")), text=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"padding_side": "left"}, "on the left", id="left"),
        pytest.param({"pieces": ["xφ"]}, "'xφ' and not each of its characters", id="characters"),
        pytest.param({"additional_special_tokens": ["<e1>"]}, "'<e1>' is no plain special token", id="added"),
    ],
)
def test_rules_that_a_graph_would_not_keep_are_refused(options, says) -> None:
    folder = checkpoints.sentences(Path("model"))
    for old in ("tokenizer.json", "vocab.txt"):
        (folder / old).unlink()
    checkpoints.tokenizer(folder, **options)

    with pytest.raises(Unsupported, match=says):
        run_export(folder, text=True)


def test_tokenizers_of_another_kind_are_refused() -> None:
    from tokenizers import Tokenizer, models

    folder = checkpoints.sentences(Path("model"))
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "[PAD]": 1}, merges=[]))
    tokenizer.save(str(folder / "tokenizer.json"))
    checkpoints.write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 16},
    )

    with pytest.raises(Unsupported, match="kind BPE"):
        run_export(folder, text=True)


def test_only_checkpoints_have_a_tokenizer() -> None:
    with pytest.raises(UsageError, match="one use"):
        run_export("model.onnx", text=True)


def _same(pair: Pair, texts: Sequence[str]) -> None:
    tokenizing, graph = pair
    expected = tokenizing.tokenize(texts)

    made = graph.run({"text": np.array(texts, object)})

    for name in NAMES:
        np.testing.assert_array_equal(made[name], expected[name], err_msg=name)
