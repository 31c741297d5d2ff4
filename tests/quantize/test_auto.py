"""The search as a whole: on a model with one layer that no 8 bits can hold, and two that lose nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mlserve.core.digests import digest_file
from mlserve.core.evidence import read_sidecar
from mlserve.errors import Unsupported
from mlserve.graph.document import load_graph
from mlserve.graph.packaging import model_files
from mlserve.graph.properties import get_properties
from mlserve.quantize.plan import plan_of
from mlserve.quantize.quantizing import quantize
from mlserve.quantize.reporting import QuantizeReport
from tests import models

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FEATURES = 64
PLAN = {"fragile": "fp32", "wide": "int8-weights", "last": "int8-weights"}


def saved(path: Path = Path("model.onnx")) -> Path:
    """Three matrices; a weight of 1e4 in the first, on a feature that is always 0, sets the scale of its block."""
    rng = np.random.default_rng(0)
    fragile = rng.normal(size=(FEATURES, 48)).astype(np.float32) / 8
    fragile[0] = 1e4
    fragile[40] = -1e4
    weights = {
        "w0": fragile,
        "w1": rng.normal(size=(48, 512)).astype(np.float32) / 7,
        "w2": rng.normal(size=(512, 256)).astype(np.float32) / 22,
        "zero": np.zeros(FEATURES, np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["x", "zero"], ["centred"]),
        helper.make_node("MatMul", ["centred", "w0"], ["a"], name="fragile"),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"], name="wide"),
        helper.make_node("Tanh", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "fragile",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 256])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return models.saved(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def rows(name: str, count: int = 200, seed: int = 1) -> Path:
    values = np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)
    values[:, [0, 40]] = 0
    np.savez(name, x=values)
    return Path(name)


@pytest.fixture
def model(clean_environment: Path) -> Path:
    return saved()


def run(model: Path, **options: Any) -> QuantizeReport:
    asked: dict[str, Any] = {"metric": "cosine", "max_drop": 0.002, "by": "tester", "now": NOW} | options
    return quantize(model, Path("out.onnx"), method="auto", **asked)


def here() -> set[str]:
    return {path.name for path in Path().iterdir()}


def test_the_layer_that_no_integer_holds_stays_and_the_others_shrink(model: Path) -> None:
    report = run(model, evaluate=rows("rows.npz"))

    assert (report.passed, report.plan, report.method) == (True, PLAN, "mixed-4")
    assert report.size_ratio > 3
    assert report.search is not None
    assert report.search.sensitivities is not None
    assert report.search.sensitivities.to_list()[0]["layer"] == "fragile"
    names = [tried.method for tried in report.search.attempts]
    assert names == ["int8-dynamic", "int8-weights", "mixed-4", "int4-weights"]
    assert [not tried.reasons for tried in report.search.attempts] == [False, False, True, False]
    assert here() == {"model.onnx", "rows.npz", "out.onnx", "out.onnx.evidence.json"}


def test_the_file_carries_its_plan_and_the_evidence_what_was_measured(model: Path) -> None:
    run(model, evaluate=rows("rows.npz"))

    made = load_graph(Path("out.onnx"))
    assert plan_of(made) == PLAN == json.loads(get_properties(made)["mlserve.quantize.plan"])
    assert json.loads(get_properties(made)["mlserve.quantize.options"])["step"] == 4
    quantization, _ = read_sidecar(Path("out.onnx"), digest_file(Path("out.onnx")))
    assert [tried["method"] for tried in quantization.figures["candidates"]][2] == "mixed-4"
    assert quantization.figures["search"]["sensitivities"][0]["layer"] == "fragile"


def test_layers_are_chosen_on_other_rows_than_are_judged_on(model: Path) -> None:
    alone = run(model, evaluate=rows("rows.npz"))
    beside = run(model, evaluate=rows("rows.npz"), calibrate=rows("seen.npz", seed=2))

    assert alone.metric is not None
    assert alone.metric.rows == 160
    assert any("40 rows of the evaluation data, which are not judged on" in note for note in alone.notes)
    assert beside.metric is not None
    assert beside.metric.rows == 200
    assert any("64 rows of the calibration data" in note for note in beside.notes)


def test_the_same_model_gives_the_same_bytes(model: Path) -> None:
    first = run(model, evaluate=rows("rows.npz"))
    second = run(model, evaluate=rows("rows.npz"))

    assert first.digest == second.digest


def test_where_nothing_is_good_enough_nothing_is_written(model: Path) -> None:
    report = run(model, evaluate=rows("rows.npz"), max_drop=0.0)

    assert (report.passed, report.output) == (False, None)
    assert here() == {"model.onnx", "rows.npz"}


def test_force_writes_what_missed_by_the_least(model: Path) -> None:
    report = run(model, evaluate=rows("rows.npz"), max_drop=0.0, force=True)

    assert (report.is_forced, report.output) == (True, Path("out.onnx"))
    drops = [tried.standing.drop or 0.0 for tried in report.search.attempts if len(tried.reasons) == 1]  # type: ignore[union-attr]
    assert report.metric is not None
    assert report.metric.drop == min(drops)


def test_a_fixed_method_that_passes_needs_no_mixture(model: Path) -> None:
    report = run(model, evaluate=rows("rows.npz"), max_drop=2.0)

    assert report.passed
    assert report.search is not None
    assert report.search.sensitivities is None
    assert report.method in {"int8-dynamic", "int8-weights", "int4-weights"}


def test_without_data_four_bits_are_not_tried(model: Path) -> None:
    report = run(model)

    assert report.search is not None
    assert [tried.method for tried in report.search.attempts] == ["int8-dynamic", "int8-weights"]


def ticking(step_s: float) -> Iterator[float]:
    return itertools.count(0.0, step_s)


def test_a_spent_budget_ends_the_search_and_what_was_not_tried_is_said(model: Path) -> None:
    clock = ticking(1.0)

    report = run(model, evaluate=rows("rows.npz"), budget_s=2.0, clock=lambda: next(clock))

    assert report.search is not None
    assert [tried.method for tried in report.search.attempts] == ["int8-dynamic"]
    assert [note for note in report.notes if "was not tried: the budget of 2 s was spent" in note] != []


def test_a_budget_that_ends_while_ranking_is_said(model: Path) -> None:
    now_s = [0.0]

    def watch(step: str, done: int, total: int | None) -> None:
        if (step, done) == ("rank layers", 1):
            now_s[0] = 250.0

    report = run(model, evaluate=rows("rows.npz"), budget_s=300.0, clock=lambda: now_s[0], progress=watch)

    assert report.passed
    assert report.search is not None
    assert report.search.spent_s == 250.0
    assert any("2 of 3 layers were not ranked within the budget: the smallest" in note for note in report.notes)


@pytest.mark.parametrize("step", ["quantize to int4-weights", "rank layers", "climb the ladder", "quantize to mixed-4"])
def test_an_interrupt_leaves_no_file_behind(model: Path, step: str) -> None:
    def interrupt(current: str, done: int, total: int | None) -> None:
        if current == step:
            raise KeyboardInterrupt

    data = rows("rows.npz")
    with pytest.raises(KeyboardInterrupt):
        run(model, evaluate=data, progress=interrupt)

    assert here() == {"model.onnx", "rows.npz"}


def test_tiny_models_are_refused_with_the_reason() -> None:
    report = run(models.saved(models.classifier(), Path("tiny.onnx")))

    assert (report.output, report.method) == (None, "auto")
    assert "too few for any method to gain" in report.reasons[0]


def test_force_tries_a_tiny_model_all_the_same() -> None:
    report = run(models.saved(models.classifier(24, 3, hidden=24), Path("tiny.onnx")), force=True)

    assert report.output is not None
    assert "too few for any method to gain" in report.reasons[0]


def test_few_rows_are_all_judged_on_and_none_ranked_on(model: Path) -> None:
    report = run(model, evaluate=rows("rows.npz", count=12))

    assert report.metric is not None
    assert report.metric.rows == 12
    assert any("too few rows to rank layers on" in note for note in report.notes)


def test_weights_that_need_a_file_of_their_own_come_along(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlserve.graph import document

    monkeypatch.setattr(document.save_graph, "__kwdefaults__", {"max_one_file_bytes": 20_000})

    run(model, evaluate=rows("rows.npz"), max_drop=2.0)

    assert [name for name, _ in model_files(Path("out.onnx"))] == ["model.onnx", "out.onnx.data"]


def test_what_no_method_can_be_made_of_is_unsupported() -> None:
    model = models.classifier(64, 3, hidden=400)
    model.graph.initializer[0].raw_data = b"short"
    models.saved(model, Path("odd.onnx"))

    with pytest.raises(Unsupported, match=r"no method suits this model: .*int8-dynamic cannot be made of this model"):
        run(Path("odd.onnx"))

    assert here() == {"odd.onnx"}
