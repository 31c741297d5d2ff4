"""Layer 3: answers that differ from those at fit, by score, class, sureness and calibration; and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from mlserve.drift.arriving import WindowRows, read_window
from mlserve.drift.calibration import calibration_map
from mlserve.drift.detectors.detector import Options
from mlserve.drift.judgements import Judgement
from mlserve.drift.miscalibration import calibrated, judge_calibration, rising
from mlserve.drift.prediction import check_predictions
from mlserve.drift.profile import Profile
from mlserve.drift.windows import Bounds
from tests.drift.making import TableSource, fitted, labels_of, rows_of, run, times_of

SCIPY = Options(engine="scipy")


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fitted()


def window_of(
    profile: Profile, inputs: dict[str, np.ndarray], labels: np.ndarray | None = None, *, answers: bool = True
) -> WindowRows:
    rows = len(inputs["plan"])
    source = TableSource(inputs, labels, times_of(rows))
    return read_window(profile, source, run if answers else None, bounds=Bounds(None, None))


def by_name(judgements: tuple[Judgement, ...]) -> dict[str | None, Judgement]:
    return {judgement.name: judgement for judgement in judgements}


def test_answers_as_at_fit_are_no_drift(profile: Profile) -> None:
    inputs = rows_of(3000, seed=7)

    found = check_predictions(profile, window_of(profile, inputs, labels_of(inputs, seed=8)), options=SCIPY)

    assert found is not None
    assert not found.drift
    assert {one.name for one in found.judgements} == {
        "calibration",
        *(f"prediction.{name}" for name in ("class", "score", "confidence", "margin", "entropy")),
    }
    assert all(one.p_value is not None and one.effect is not None for one in found.judgements)


def test_scores_and_classes_that_move_are_drift_with_their_size(profile: Profile) -> None:
    found = check_predictions(profile, window_of(profile, rows_of(3000, seed=7, shift=0.8)), options=SCIPY)

    assert found is not None
    judged = by_name(found.judgements)
    assert judged["prediction.score"].drift
    assert judged["prediction.class"].drift
    assert "Cramér's V" in judged["prediction.class"].detail
    # Φ(0.8) of the amounts are above zero now, where half were: the shares move by 0.288 (±3 standard errors).
    assert judged["prediction.class"].effect == pytest.approx(0.288, abs=0.03)
    part = found.to_dict()
    assert part["severity"] in ("warn", "critical")
    assert part["class_mix"]["after"]["1"] > 0.75
    assert part["after"]["0.5"] > part["before"]["0.5"]


def test_a_model_less_sure_is_drift_where_its_class_mix_is_not(profile: Profile) -> None:
    inputs = rows_of(3000, seed=7)
    inputs["x"][:, 0] /= 3

    found = check_predictions(profile, window_of(profile, inputs), options=SCIPY)

    assert found is not None
    judged = by_name(found.judgements)
    assert judged["prediction.entropy"].drift
    assert judged["prediction.margin"].drift
    assert not judged["prediction.class"].drift


def test_probabilities_that_come_true_less_often_are_told_by_labels_alone(profile: Profile) -> None:
    inputs = rows_of(3000, seed=7)
    labels = labels_of(inputs, seed=8)
    labels[np.random.default_rng(1).random(3000) < 0.2] = 0

    found = check_predictions(profile, window_of(profile, inputs, labels), options=SCIPY)

    assert found is not None
    judged = by_name(found.judgements)
    assert judged["calibration"].drift
    assert "below" in judged["calibration"].detail
    assert not judged["prediction.score"].drift


def test_a_window_without_answers_says_so_and_is_no_drift(profile: Profile) -> None:
    found = check_predictions(profile, window_of(profile, rows_of(500), answers=False), options=SCIPY)

    assert found is not None
    assert not found.drift
    assert {one.detail for one in found.judgements} == {"the window has no answers of the model"}


def test_few_labels_give_no_p_value_of_the_calibration() -> None:
    bins = calibration_map(np.linspace(0, 1, 500), np.linspace(0, 1, 500) > 0.5)

    found = judge_calibration(bins, np.full(20, 0.5), np.ones(20, bool))

    assert found.p_value is None
    assert not found.drift
    assert "20 labelled rows" in found.detail


def test_the_calibration_alarms_by_chance_no_more_often_than_said() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        fit, later = random.random(1500), random.random(400)
        bins = calibration_map(fit, random.random(1500) < fit)
        alarms += judge_calibration(bins, later, random.random(400) < later).drift

    # A hundredth of a hundred is one; five has a chance of 1 in 300.
    assert alarms <= 4


def test_pooling_is_scikit_learns_isotonic_regression() -> None:
    random = np.random.default_rng(3)
    values, weights = random.random(40), random.random(40) + 0.1

    expected = IsotonicRegression().fit(np.arange(40), values, sample_weight=weights).predict(np.arange(40))

    # Sums in another order: ten times the rounding of a double.
    assert rising(values, weights) == pytest.approx(expected, abs=1e-14)


def test_probabilities_are_mapped_to_what_came_true() -> None:
    random = np.random.default_rng(5)
    said = random.random(20_000)
    bins = calibration_map(said, random.random(20_000) < said**2)

    # A bin of 1,300 rows is off by 0.014 (one standard error), and a line cuts the curve by less.
    assert calibrated(bins, np.array([0.3, 0.6, 0.9])) == pytest.approx([0.09, 0.36, 0.81], abs=0.05)
