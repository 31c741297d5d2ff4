"""The rung of labels: which metrics apply, that they are scikit-learn's, and that parts make the whole."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from mlserve.compare.ladder.quality import Quality
from mlserve.compare.pairs import Pairs


def pairs_of(expected: dict, actual: dict, labels, *, start: int = 0, **more) -> Pairs:
    """One row a request, ids counting from ``start``."""
    rows = len(next(iter(expected.values())))
    ids = [f"r{start + row}" for row in range(rows)]
    return Pairs(ids, np.ones(rows, np.int64), expected, actual, inputs={}, labels=labels, **more)


def figures_of(expected: dict, actual: dict, labels, **more) -> dict:
    rung = Quality()
    rung.add(pairs_of(expected, actual, labels, **more))
    return rung.figures()


def names(figures: dict) -> list[str]:
    return [one["metric"] for one in figures["quality"]]


def probabilities(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    return rng.dirichlet(np.ones(classes), rows).clip(1e-6)


seeds = st.integers(0, 1000)


@settings(max_examples=40)
@given(seeds, st.booleans())
def test_a_binary_classifiers_figures_are_scikit_learns(seed: int, has_two_columns: bool):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, 40)])
    before, after = rng.uniform(0.001, 0.999, (2, 42)).round(2).clip(0.001, 0.999)
    weights = rng.integers(1, 4, 42).astype(float)

    sides = [{"p": np.stack([1 - p, p], axis=1) if has_two_columns else p} for p in (before, after)]
    metrics = figures_of(*sides, labels, weights=weights)["metrics"]

    for suffix, p in (("_before", before), ("", after)):
        # Of two columns the first wins a tie at a half, as it does of one.
        decided = (p > 0.5).astype(int)
        assert metrics[f"accuracy{suffix}"] == pytest.approx(accuracy_score(labels, decided, sample_weight=weights))
        assert metrics[f"auc{suffix}"] == pytest.approx(roc_auc_score(labels, p, sample_weight=weights))
        assert metrics[f"log_loss{suffix}"] == pytest.approx(log_loss(labels, p, sample_weight=weights))
        assert metrics[f"brier{suffix}"] == pytest.approx(brier_score_loss(labels, p, sample_weight=weights))


@given(seeds)
def test_three_classes_figures_are_scikit_learns(seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 50)
    before, after = probabilities(rng, 50, 3), probabilities(rng, 50, 3)

    found = figures_of({"p": before}, {"p": after}, labels)

    metrics = found["metrics"]
    assert names(found) == ["accuracy", "log_loss", "brier", "ece"]
    # Rows add up to 1 but for the clipping above.
    assert metrics["log_loss"] == pytest.approx(
        log_loss(labels, after / after.sum(1)[:, None], labels=[0, 1, 2]), abs=1e-4
    )
    assert metrics["brier"] == pytest.approx(((np.eye(3)[labels] - after) ** 2).sum(axis=1).mean())
    assert metrics["accuracy_drop"] == pytest.approx(
        (before.argmax(1) == labels).mean() - (after.argmax(1) == labels).mean()
    )


@given(seeds)
def test_a_regressions_figures_are_scikit_learns(seed: int):
    rng = np.random.default_rng(seed)
    labels, before, after = rng.normal(100, 10, (3, 30))

    found = figures_of({"y": before[:, None]}, {"y": after[:, None]}, labels)

    metrics = found["metrics"]
    assert names(found) == ["rmse", "mae"]
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(labels, after))
    assert metrics["mae_before"] == pytest.approx(mean_absolute_error(labels, before))
    assert metrics["mae_drop"] == pytest.approx(metrics["mae"] - metrics["mae_before"])


@pytest.mark.parametrize(
    ("outputs", "labels", "applies"),
    [
        pytest.param({"label": np.array(["a", "b", "a"])}, ["a", "b", "b"], ["accuracy"], id="text labels"),
        pytest.param({"label": np.array([1, 2, 7])}, [1, 2, 2], ["accuracy"], id="a label output alone"),
        pytest.param(
            {"label": np.array([0, 1, 1]), "p": np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])},
            [0, 1, 0],
            ["accuracy", "auc", "log_loss", "brier", "ece"],
            id="a label and probabilities",
        ),
        pytest.param({"margin": np.array([-2.0, 3.0, 0.5])}, [0, 1, 0], ["auc"], id="margins of two classes"),
        pytest.param({"logits": np.eye(3) * 9}, [0, 1, 1], ["accuracy"], id="logits"),
        pytest.param(
            {"p": np.array([0.1, 0.9, 0.8])}, [1, 1, 1], ["accuracy", "log_loss", "brier", "ece"], id="one class"
        ),
        pytest.param({"p": np.array([0.1, 0.9, 0.8])}, [0.1, 0.5, 2.0], ["rmse", "mae"], id="numbers from 0 to 1"),
        pytest.param({"p": np.full((3, 3), 1 / 3)}, [1, 2, 3], [], id="classes that are no columns"),
        pytest.param({"p": np.full((3, 2), 0.5)}, ["x", "y", "x"], [], id="text for numbers"),
    ],
)
def test_which_metrics_apply_is_seen_from_outputs_and_labels(outputs: dict, labels: list, applies: list[str]):
    assert names(figures_of(outputs, outputs, np.array(labels))) == applies


def test_what_speaks_against_a_metric_may_come_late():
    rung = Quality()
    rung.add(pairs_of({"y": np.array([0.2, 0.8])}, {"y": np.array([0.2, 0.8])}, np.array([0, 1])))

    assert "brier" in names(rung.figures())

    rung.add(pairs_of({"y": np.array([17.0])}, {"y": np.array([18.0])}, np.array([16.5]), start=2))

    assert names(rung.figures()) == ["rmse", "mae"]


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.ma.masked_array([1.0, 5.0, 0.0], mask=[False, True, False]), id="masked"),
        pytest.param(np.array([1.0, np.nan, 0.0]), id="NaN"),
        pytest.param(np.array([1, None, 0], object), id="None"),
        pytest.param(np.array([1.0, np.inf, 0.0]), id="infinite"),
        pytest.param(np.array([1, -np.inf, 0], object), id="infinite among objects"),
        pytest.param(np.ma.masked_array([[1], [7], [0]], mask=[[False], [True], [False]]), id="a column"),
    ],
)
def test_rows_without_a_label_count_nothing(labels):
    outputs = {"p": np.array([0.9, 0.9, 0.9])}

    found = figures_of(outputs, outputs, labels)

    assert (found["labels"]["known"], found["labels"]["unknown"]) == (2, 1)
    assert found["metrics"]["accuracy"] == 0.5


def test_without_labels_there_is_nothing():
    found = figures_of({"p": np.array([0.9])}, {"p": np.array([0.9])}, None)

    assert found == {"quality": [], "calibration": None, "labels": {"known": 0, "unknown": 1}, "metrics": {}}


def test_a_score_that_became_nan_is_wrong_and_in_no_loss():
    found = figures_of({"p": np.array([0.9, 0.1, 0.8])}, {"p": np.array([0.9, 0.1, np.nan])}, np.array([1, 0, 1]))

    assert found["labels"]["not_finite"] == {"before": 0, "after": 1}
    assert found["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert found["metrics"]["brier"] == pytest.approx(found["metrics"]["brier_before"]) == pytest.approx(0.01)


def test_a_candidate_of_another_shape_has_no_scores_to_judge():
    found = figures_of({"p": np.array([[0.1, 0.9]])}, {"p": np.array([0.9])}, np.array([1]))

    assert (found["quality"], found["calibration"]) == ([], None)


def test_an_interval_holds_its_difference_and_a_clear_loss_is_clear():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 2000)
    good = np.clip(0.25 + 0.5 * labels + rng.normal(0, 0.15, 2000), 0.01, 0.99)
    bad = np.clip(0.4 + 0.2 * labels + rng.normal(0, 0.3, 2000), 0.01, 0.99)

    found = figures_of({"p": good}, {"p": bad}, labels)

    for one in found["quality"]:
        low, high = one["interval"]
        assert low <= one["difference"] <= high
        assert one["metric"] == "ece" or (high < 0 if one["higher_is_better"] else low > 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(seeds, st.sampled_from(["binary", "classes", "numbers"]))
def test_parts_merged_and_sent_are_the_whole(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    rows = 80
    if kind == "numbers":
        before, after, labels = rng.normal(size=(3, rows))
    else:
        classes = 2 if kind == "binary" else 4
        before, after = probabilities(rng, rows, classes), probabilities(rng, rows, classes)
        labels = rng.integers(0, classes, rows)
    labels = np.ma.masked_array(labels, mask=rng.random(rows) < 0.2)
    weights = rng.integers(1, 4, rows)

    def rung_of(part: slice) -> Quality:
        rung = Quality(cap=20)
        sides = {"y": before[part]}, {"y": after[part]}
        rung.add(pairs_of(*sides, labels[part], start=part.start, weights=weights[part]))
        return rung

    merged = Quality(cap=20)
    for part in (slice(50, 80), slice(0, 9), slice(9, 50)):
        merged.merge(Quality.from_state(rung_of(part).state()))
    whole = rung_of(slice(0, rows)).figures()

    found = merged.figures()
    # Sums in another order.
    assert found["metrics"] == pytest.approx(whole["metrics"], rel=1e-9, abs=1e-12)
    assert found["labels"] == whole["labels"]
    for one, other in zip(found["quality"], whole["quality"], strict=True):
        assert one["interval"] == pytest.approx(other["interval"], rel=1e-6, abs=1e-9)
