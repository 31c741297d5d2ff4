"""What is expected without labels: right where only inputs have moved, and not trusted where it cannot be right."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.arriving import WindowRows, read_window
from mlserve.drift.concept import check_concept
from mlserve.drift.estimating import CAVEAT, Past, estimate_performance, performance_part
from mlserve.drift.fitting import FitPlan, fit
from mlserve.drift.profile import Profile
from mlserve.drift.windows import Bounds
from mlserve.stats.density_ratio import density_ratio, fit_logistic
from tests.drift.making import DIGEST, SIGNATURE, TableSource, rows_of, run, times_of


def rows_with(rows: int, seed: int, *, team: float = 0.1, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Rows of which the share ``team`` has that plan."""
    inputs = rows_of(rows, seed=seed, shift=shift)
    random = np.random.default_rng(seed + 50)
    inputs["plan"] = np.array(["basic", "team"], object)[(random.random(rows) < team).astype(int)]
    return inputs


def truth_of(inputs: dict[str, np.ndarray], seed: int, *, turned: float = 0.0) -> np.ndarray:
    """As the model says, but of teams, where it is a coin; the share ``turned`` the other way round."""
    random = np.random.default_rng(seed + 99)
    chance = np.where(inputs["plan"] == "team", 0.5, run(inputs)["p"][:, 1])
    happened = random.random(len(chance)) < chance
    return np.where(random.random(len(chance)) < turned, ~happened, happened).astype(np.float64)


def right(inputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
    return float(((run(inputs)["p"][:, 1] > 0.5) == labels).mean())


@pytest.fixture(scope="module")
def profile() -> Profile:
    inputs = rows_with(6000, 0)
    return fit(TableSource(inputs, truth_of(inputs, 0), times_of(6000)), FitPlan(DIGEST, SIGNATURE), run)


def window_of(profile: Profile, inputs: dict[str, np.ndarray], labels: np.ndarray | None = None) -> WindowRows:
    source = TableSource(inputs, labels, times_of(len(inputs["plan"])))
    return read_window(profile, source, run, bounds=Bounds(None, None))


@pytest.mark.parametrize(
    ("team", "shift"),
    [
        pytest.param(0.1, 0.0, id="nothing moved"),
        pytest.param(0.1, 0.7, id="a number moved"),
        pytest.param(0.6, 0.0, id="a category moved"),
        pytest.param(0.5, 0.5, id="both moved"),
    ],
)
def test_inputs_that_move_are_followed(profile: Profile, team: float, shift: float) -> None:
    inputs = rows_with(4000, 21, team=team, shift=shift)
    labels = truth_of(inputs, 21)

    accuracy, auc = estimate_performance(profile, window_of(profile, inputs))

    assert accuracy.trusted
    assert accuracy.why == CAVEAT
    assert accuracy.interval is not None
    assert auc.interval is not None
    # The window's own labels are chance too: half a standard error of 4,000 rows on either side.
    assert accuracy.interval[0] - 0.004 < right(inputs, labels) < accuracy.interval[1] + 0.004
    shown = roc_auc_score(labels, run(inputs)["p"][:, 1])
    assert auc.interval[0] - 0.005 < shown < auc.interval[1] + 0.005


def test_intervals_hold_about_as_often_as_they_say(profile: Profile) -> None:
    held = 0
    for seed in range(12):
        inputs = rows_with(2000, 200 + seed, team=0.4, shift=0.3)
        (accuracy, *_) = estimate_performance(profile, window_of(profile, inputs), seed=seed)
        labels = np.concatenate([truth_of(inputs, 1000 + 20 * seed + more) for more in range(20)])
        expected = right({name: np.concatenate([values] * 20) for name, values in inputs.items()}, labels)
        assert accuracy.interval is not None
        held += accuracy.interval[0] <= expected <= accuracy.interval[1]

    # Of twelve at 95 % eleven; one reference serves them all, so misses come together.
    assert held >= 9


def test_what_labels_contradict_is_not_trusted(profile: Profile) -> None:
    inputs = rows_with(3000, 31)
    window = window_of(profile, inputs, truth_of(inputs, 31, turned=0.25))

    concept = check_concept(profile, window)
    (accuracy, auc) = estimate_performance(profile, window, concept)

    assert concept.drift
    assert not accuracy.trusted
    assert "the same inputs turn out another way" in accuracy.why
    assert "labels show accuracy between" in accuracy.why
    assert not auc.trusted
    part = performance_part(concept, (accuracy, auc))
    assert part is not None
    assert part["estimated"]["trusted"] is False
    assert part["measured"] < part["estimated"]["value"]


def test_without_labels_a_changed_world_cannot_be_seen_and_that_is_said(profile: Profile) -> None:
    inputs = rows_with(3000, 31)

    (accuracy, _) = estimate_performance(profile, window_of(profile, inputs))

    assert "which no window without labels can show" in accuracy.why


def test_inputs_beyond_the_reference_are_not_trusted(profile: Profile) -> None:
    (accuracy, *_) = estimate_performance(profile, window_of(profile, rows_with(2000, 5, shift=6.0)))

    assert not accuracy.trusted
    assert "reference" in accuracy.why
    assert accuracy.to_dict()["inputs_moved_auc"] > 0.95


def test_scores_that_no_calibration_mends_are_not_trusted() -> None:
    rows = 3000
    inputs = rows_with(rows, 3, team=0.0)
    # Likely where the model is unsure, and unlikely where it is sure: nothing that rises with the score.
    unsure = np.abs(run(inputs)["p"][:, 1] - 0.5) < 0.25
    made = fit(TableSource(inputs, unsure.astype(np.int64)), FitPlan(DIGEST, SIGNATURE), run)

    (accuracy, *_) = estimate_performance(made, window_of(made, rows_with(2000, 4, team=0.0)))

    assert not accuracy.trusted
    assert "not calibrated at fit" in accuracy.why


def test_estimates_that_were_wrong_before_are_not_trusted(profile: Profile) -> None:
    window = window_of(profile, rows_with(2000, 8))
    fine, missed = Past((0.7, 0.8), 0.75), Past((0.7, 0.8), 0.6)

    assert estimate_performance(profile, window, past=[fine] * 6 + [missed])[0].trusted
    (accuracy, *_) = estimate_performance(profile, window, past=[fine] * 3 + [missed] * 3)

    assert "3 of the last 6 estimates were wrong" in accuracy.why
    assert not accuracy.trusted


def test_too_few_rows_are_no_estimate(profile: Profile) -> None:
    unlabelled = fit(TableSource(rows_with(500, 1)), FitPlan(DIGEST, SIGNATURE), run)

    for made, rows in ((unlabelled, 500), (profile, 60)):
        (found,) = estimate_performance(made, window_of(made, rows_with(rows, 2)))
        assert (found.value, found.trusted) == (None, False)
        assert found.why.startswith("not possible")


def test_of_numbers_the_error_is_estimated_by_a_model_of_it() -> None:
    signature = Signature(
        (TensorSpec("x", DType.FLOAT32, ("batch", 2)),), (TensorSpec("y", DType.FLOAT32, ("batch",)),)
    )

    def model(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": inputs["x"][:, 0] * 3}

    def table(rows: int, seed: int, moved: float, labelled: bool) -> tuple[TableSource, np.ndarray]:
        random = np.random.default_rng(seed)
        x = random.normal(0, 1, (rows, 2)).astype(np.float32)
        x[:, 1] += moved
        noise = random.normal(0, np.exp(0.4 * x[:, 1].astype(np.float64)))
        source = TableSource({"x": x}, x[:, 0] * 3 + noise if labelled else None)
        source.names = {"x": ("a", "b")}
        return source, np.abs(noise)

    made = fit(table(6000, 1, 0.0, True)[0], FitPlan(DIGEST, signature), model)  # type: ignore[arg-type]
    later, errors = table(3000, 2, 0.8, False)

    (found,) = estimate_performance(made, read_window(made, later, model, bounds=Bounds(None, None)))  # type: ignore[arg-type]

    assert found.metric == "absolute_error"
    assert found.trusted
    assert found.interval is not None
    assert found.interval[0] < errors.mean() < found.interval[1]


def test_weights_are_those_of_two_normal_distributions() -> None:
    random = np.random.default_rng(0)
    reference, window = random.normal(0, 1, (8000, 1)), random.normal(0.5, 1, (8000, 1))

    ratio = density_ratio(reference, window)

    expected = np.exp(0.5 * reference[:, 0] - 0.125)
    # Two coefficients of 4,000 rows each: a few hundredths in the exponent.
    assert np.abs(np.log(ratio.weights) - np.log(expected / expected.mean())).mean() < 0.05
    assert ratio.effective_rows == pytest.approx(8000 * np.exp(-0.25), rel=0.1)
    # Φ(0.5 / √2)
    assert ratio.auc == pytest.approx(0.638, abs=0.015)


def test_the_regression_is_scikit_learns() -> None:
    random = np.random.default_rng(1)
    zeros, ones = random.normal(0, 1, (500, 3)), random.normal([0.3, -0.5, 0.0], 1.2, (500, 3))
    rows = np.concatenate([zeros, ones])
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)

    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(scaled, np.repeat([0, 1], 500))

    # Both stop when a step is small; scikit-learn's stops earlier.
    assert fit_logistic(zeros, ones)(rows) == pytest.approx(model.decision_function(scaled), abs=1e-4)
