"""What a model answered, as columns: classes, scores, how sure, how wrong; and how well it is calibrated."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mlserve.drift.calibration import calibration_error, calibration_map, sureness
from mlserve.drift.predictions import PredictionPlan, columns_of, plan_of

RANDOM = np.random.default_rng(4)
SHARES = RANDOM.dirichlet((1.0, 2.0, 3.0), 500)
TWO = np.stack([1 - (p := RANDOM.random(500)), p], axis=1)


def test_classes_and_their_scores_are_read_together() -> None:
    names = np.array(["low", "mid", "high"], object)

    plan = plan_of({"label": names[SHARES.argmax(axis=1)], "scores": SHARES.astype(np.float32)})

    assert plan == PredictionPlan("classes", "scores", "label", ("low", "mid", "high"))
    columns = columns_of(plan, {"label": names[SHARES.argmax(axis=1)], "scores": SHARES})
    assert set(columns) == {f"prediction.{name}" for name in ("class", "score", "confidence", "margin", "entropy")}
    assert columns["prediction.score"] == pytest.approx(SHARES.max(axis=1))
    assert columns["prediction.margin"] == pytest.approx(np.sort(SHARES)[:, 2] - np.sort(SHARES)[:, 1])
    assert columns["prediction.entropy"] == pytest.approx(-(SHARES * np.log(SHARES)).sum(axis=1))


@pytest.mark.parametrize(
    ("outputs", "task"),
    [
        pytest.param({"p": RANDOM.random(9)}, "probability", id="one probability"),
        pytest.param({"p": RANDOM.random((9, 1))}, "probability", id="one in a column"),
        pytest.param({"y": RANDOM.normal(size=9) * 9}, "number", id="a number"),
        pytest.param({"e": RANDOM.normal(size=(9, 8))}, "tensor", id="an embedding"),
        pytest.param({"label": np.arange(9)}, "classes", id="classes alone"),
        pytest.param({"label": np.arange(9), "e": RANDOM.normal(size=(9, 8))}, "classes", id="classes and margins"),
    ],
)
def test_what_outputs_are_is_told_by_type_shape_and_values(outputs: dict[str, np.ndarray], task: str) -> None:
    plan = plan_of(outputs)

    assert plan is not None
    assert plan.task == task
    assert all(len(values) == 9 for values in columns_of(plan, outputs).values())


def test_a_share_that_is_measured_is_no_probability() -> None:
    plan = plan_of({"y": RANDOM.random(9)}, labels=RANDOM.random(9))

    assert plan is not None
    assert plan.task == "number"


def test_outputs_without_rows_are_not_watched() -> None:
    assert plan_of({"total": np.float32(3.0)}) is None


def test_the_loss_is_scikit_learns() -> None:
    labels = RANDOM.integers(0, 3, 500)
    plan = plan_of({"scores": SHARES})
    assert plan is not None

    columns = columns_of(plan, {"scores": SHARES}, labels)

    assert columns["prediction.loss"].mean() == pytest.approx(metrics.log_loss(labels, SHARES))
    accuracy = metrics.accuracy_score(labels, SHARES.argmax(axis=1))
    assert columns["prediction.error"].mean() == pytest.approx(1 - accuracy)


def test_rows_without_a_label_have_no_error() -> None:
    plan = plan_of({"scores": TWO})
    assert plan is not None
    labels = np.ma.MaskedArray(np.ones(500, int), mask=np.arange(500) % 2 == 0)

    columns = columns_of(plan, {"scores": TWO}, labels)

    assert np.isnan(columns["prediction.error"]).tolist() == (np.arange(500) % 2 == 0).tolist()


def test_errors_of_numbers_are_absolute_and_squared() -> None:
    plan = PredictionPlan("number", "y", None)

    columns = columns_of(plan, {"y": np.array([[1.0], [4.0]])}, np.array([2.0, 7.0]))

    assert columns["prediction.error"].tolist() == [1.0, 3.0]
    assert columns["prediction.loss"].tolist() == [1.0, 9.0]


def test_what_is_calibrated_has_no_calibration_error_and_what_is_not_has() -> None:
    happened = RANDOM.random(500) < TWO[:, 1]

    honest = calibration_error(calibration_map(TWO[:, 1], happened))
    boasting = calibration_error(calibration_map(np.sqrt(TWO[:, 1]), happened))

    assert honest is not None
    assert boasting is not None
    # 15 bins of 33 rows each are off by about 0.06 on average by chance.
    assert honest < 0.1 < boasting


def test_of_two_classes_the_second_is_calibrated_and_of_more_the_decided_one() -> None:
    labels = np.array(["no", "yes"], object)[(RANDOM.random(500) < TWO[:, 1]).astype(int)]
    outputs = {"label": np.array(["no", "yes"], object)[TWO.argmax(axis=1)], "scores": TWO}
    plan = plan_of(outputs)
    assert plan is not None

    found = sureness(plan, columns_of(plan, outputs, labels), labels)

    assert found is not None
    probabilities, happened, known = found
    assert probabilities == pytest.approx(TWO[:, 1])
    assert happened.tolist() == (labels == "yes").tolist()
    assert known.all()


def test_a_plan_comes_back_from_its_dict() -> None:
    plan = PredictionPlan("classes", "scores", "label", ("a", "b"))

    assert PredictionPlan.from_dict(plan.to_dict()) == plan
