"""Quality metrics, against scikit-learn where it has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from mlserve.compare.quality import METRICS, drop_of, evaluate, metric_named
from mlserve.errors import InvalidInput, Unsupported, UsageError


def sample(seed: int, classes: int, rows: int = 40):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), rows).astype(np.float32)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    return scores, labels


seeds = st.integers(0, 10_000)


@given(seeds, st.integers(2, 5))
def test_accuracy_f1_and_log_loss_are_scikit_learns(seed: int, classes: int):
    scores, labels = sample(seed, classes)
    outputs, decided = {"p": scores}, scores.argmax(axis=1)

    assert evaluate("accuracy", outputs, None, labels) == sk.accuracy_score(labels, decided)
    assert evaluate("f1", outputs, None, labels) == pytest.approx(sk.f1_score(labels, decided, average="macro"))
    expected = -np.log(np.clip(scores[np.arange(len(labels)), labels].astype(np.float64), 1e-15, 1)).mean()
    assert evaluate("log_loss", outputs, None, labels) == pytest.approx(expected)


@given(seeds)
def test_auc_is_scikit_learns_with_ties(seed: int):
    scores, labels = sample(seed, 2)
    tied = scores.round(1)

    for outputs in ({"p": tied}, {"p": tied[:, 1:]}, {"p": tied[:, 1]}):
        assert evaluate("auc", outputs, None, labels) == pytest.approx(sk.roc_auc_score(labels, tied[:, 1]))


@given(seeds)
def test_errors_are_scikit_learns_and_know_no_shape(seed: int):
    rng = np.random.default_rng(seed)
    given_values, truth = rng.normal(size=(20, 1)), rng.normal(size=20)

    rmse = evaluate("rmse", {"y": given_values}, None, truth)
    mae = evaluate("mae", {"y": given_values}, None, truth[:, None])

    assert rmse == pytest.approx(sk.root_mean_squared_error(truth, given_values[:, 0]))
    assert mae == pytest.approx(sk.mean_absolute_error(truth, given_values[:, 0]))


@pytest.mark.parametrize("name", ["agreement", "rmse", "mae", "cosine"])
def test_a_model_is_perfect_against_itself(name: str):
    outputs = {"p": sample(0, 3)[0]}

    best = 1.0 if METRICS[name].is_higher_better else 0.0
    assert evaluate(name, outputs, outputs, None) == pytest.approx(best)


def test_labels_are_measured_against_before_the_other_model():
    assert evaluate("mae", {"y": np.array([1.0])}, {"y": np.array([1.0])}, np.array([3.0])) == 2.0


def test_agreement_looks_at_the_other_model_even_where_there_are_labels():
    outputs = {"label": np.array([1, 1])}

    assert evaluate("agreement", outputs, outputs, np.array([0, 0])) == 1.0


def test_a_label_output_is_judged_before_scores():
    outputs = {"p": np.array([[0.9, 0.1]]), "label": np.array([1])}

    assert evaluate("accuracy", outputs, None, np.array([1])) == 1.0


@pytest.mark.parametrize(
    ("decided", "labels"),
    [
        pytest.param(np.array(["ham", "spam"]), np.array(["ham", "spam"], object), id="text"),
        pytest.param(np.array([1, 0]), np.array([1.0, 0.0]), id="labels read as floats"),
        pytest.param(np.array([1, 0]), np.array([True, False]), id="booleans"),
        pytest.param(np.array([[1], [0]]), np.array([1, 0]), id="a column"),
        pytest.param(np.array([0.7, 0.2]), np.array([1, 0]), id="one probability a row"),
    ],
)
def test_labels_come_in_many_forms(decided, labels):
    assert evaluate("accuracy", {"y": decided}, None, labels) == 1.0


def test_a_score_that_became_nan_is_wrong_even_about_class_0():
    assert evaluate("accuracy", {"p": np.full((2, 3), np.nan)}, None, np.array([0, 0])) == 0.0


def test_cosine_of_rows_of_zeros():
    outputs = {"e": np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])}
    expected = {"e": np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])}

    assert evaluate("cosine", outputs, expected, None) == 0.0


def test_log_loss_of_a_certain_mistake_is_finite():
    loss = evaluate("log_loss", {"p": np.array([[1.0, 0.0]])}, None, np.array([1]))

    assert loss == pytest.approx(-np.log(1e-15))


def test_log_loss_reads_one_probability_a_row():
    assert evaluate("log_loss", {"p": np.array([[0.25]])}, None, np.array([0])) == pytest.approx(-np.log(0.75))


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(UsageError, match="no metric 'acuracy'") as caught:
        metric_named("acuracy")

    assert caught.value.hint == "did you mean 'accuracy'?"


def test_an_unheard_of_metric_names_all():
    with pytest.raises(UsageError) as caught:
        metric_named("qqq")

    assert str(caught.value.hint).startswith("there are agreement, accuracy")


P = np.array([[0.5, 0.5], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("name", "outputs", "expected", "labels", "error", "fact"),
    [
        pytest.param("accuracy", {"p": P}, {"p": P}, None, InvalidInput, "needs labels", id="no labels"),
        pytest.param("agreement", {"p": P}, None, np.array([0, 1]), InvalidInput, "needs outputs", id="no other"),
        pytest.param("rmse", {"p": P}, None, None, InvalidInput, "needs labels or outputs", id="neither"),
        pytest.param("accuracy", {"p": P}, None, np.array([0]), InvalidInput, "1 labels for 2", id="fewer labels"),
        pytest.param("accuracy", {"p": P}, None, np.array(["a", "b"]), InvalidInput, "one is text", id="text labels"),
        pytest.param("accuracy", {"p": P}, None, np.array([0, np.nan]), InvalidInput, "a label is null", id="nan"),
        pytest.param("f1", {"y": np.array(["a"])}, None, np.array([None]), InvalidInput, "label is null", id="null"),
        pytest.param("accuracy", {"p": P[:0]}, None, np.zeros(0), InvalidInput, "no rows", id="no rows"),
        pytest.param("cosine", {"p": P[:0]}, {"p": P[:0]}, None, InvalidInput, "no rows", id="no rows of scores"),
        pytest.param("auc", {"p": np.eye(3)}, None, np.arange(3), Unsupported, "two classes", id="three classes"),
        pytest.param("auc", {"p": P}, None, np.array([1, 1]), InvalidInput, "both classes", id="one class"),
        pytest.param("log_loss", {"p": P}, None, np.array([0, 2]), InvalidInput, "labels 0 to 1", id="no such class"),
        pytest.param("log_loss", {"p": P}, None, np.array(["a", "b"]), InvalidInput, "labels 0 to 1", id="text"),
        pytest.param("rmse", {"y": np.array(["a"])}, None, np.array([1]), Unsupported, "holds scores", id="no scores"),
        pytest.param("rmse", {"p": P}, {"q": P}, None, InvalidInput, "no output 'p'", id="other outputs"),
        pytest.param("cosine", {"p": P}, {"p": P.T[:1]}, None, InvalidInput, "another shape", id="other shape"),
    ],
)
def test_what_cannot_be_measured_is_said(name, outputs, expected, labels, error, fact):
    with pytest.raises(error, match=fact):
        evaluate(name, outputs, expected, labels)


def test_a_drop_is_positive_where_it_gets_worse():
    assert drop_of(METRICS["accuracy"], 0.75, 0.5) == 0.25
    assert drop_of(METRICS["rmse"], 1.0, 0.75) == -0.25
