"""Every detector answers what alibi-detect answers when it is called directly on the same arrays, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlserve.drift.detectors.classifying import BATCH_ROWS, FOLDS, LEARNING_RATE, network
from mlserve.drift.detectors.context import prefit_shim
from mlserve.drift.detectors.detector import Finding, State
from mlserve.drift.detectors.engines import alibi, quiet
from mlserve.drift.detectors.kernels import learned_kernel
from mlserve.drift.detectors.seeding import seeded
from tests.drift.detectors.samples import PERMUTATIONS, SHORT, finding, findings, normal, scaled

SEED = 7
SHIFTS = [pytest.param(0.0, id="same"), pytest.param(0.4, id="shifted")]

TRAINING: dict[str, Any] = {
    "backend": "pytorch",
    "n_folds": FOLDS,
    "train_size": None,
    "seed": SEED,
    "epochs": SHORT.epochs,
    "batch_size": BATCH_ROWS,
    "learning_rate": LEARNING_RATE,
    "device": "cpu",
}


def direct(kind: str, reference: np.ndarray, window: np.ndarray, **options: Any) -> dict[str, Any]:
    """The ``data`` of alibi-detect's own answer."""
    with quiet():
        made = getattr(alibi("alibi_detect.cd"), kind)(reference, **options)
        return made.predict(window)["data"]


def assert_equal(found: Finding, data: dict[str, Any]) -> None:
    assert found.state is State.JUDGED
    assert found.p_value == float(np.ravel(data["p_val"])[0])
    assert found.statistic == float(np.ravel(data["distance"])[0])
    assert found.p_value <= found.p_safe <= 1


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("name", "kind"), [("ks", "KSDrift"), ("cvm", "CVMDrift")])
def test_numbers(name: str, kind: str, shift: float):
    reference, window = normal(300, features=1), normal(200, shift, seed=1, features=1)

    assert_equal(finding(name, reference[:, 0], window[:, 0]), direct(kind, reference, window))


@pytest.mark.parametrize("names", [np.arange(5), np.array(["a", "b", "c", "d", "e"])], ids=["integers", "texts"])
def test_categories(names: np.ndarray):
    rng = np.random.default_rng(0)
    reference = names[rng.integers(0, 5, 400)]
    window = names[rng.choice(5, 300, p=[0.3, 0.2, 0.2, 0.2, 0.1])]

    found = finding("chi2", reference, window)

    data = direct("ChiSquareDrift", reference[:, None], window[:, None])
    # alibi-detect sums the cells in the order of a set, which for texts is of that process.
    assert found.statistic == pytest.approx(float(data["distance"][0]), rel=1e-6)
    assert found.p_value == pytest.approx(float(data["p_val"][0]), rel=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_two_values(share: float):
    rng = np.random.default_rng(0)
    reference, window = rng.uniform(size=300) < 0.3, rng.uniform(size=200) < share

    data = direct("FETDrift", reference[:, None], window[:, None], alternative="two-sided")
    assert_equal(finding("fisher", reference, window), data)


def test_a_table_of_numbers_and_categories():
    rng = np.random.default_rng(0)
    reference = {"amount": rng.normal(size=300), "plan": rng.integers(0, 4, 300)}
    window = {"amount": rng.normal(0.2, 1, size=250), "plan": rng.integers(0, 3, 250)}

    found = findings("tabular", reference, window, categorical=frozenset({"plan"}))

    side = [np.column_stack(list(one.values())) for one in (reference, window)]
    data = direct("TabularDrift", *side, categories_per_feature={1: None})
    assert [one.p_value for one in found] == data["p_val"].tolist()
    assert [one.statistic for one in found] == data["distance"].tolist()
    assert [(one.feature, one.test) for one in found] == [("amount", "ks"), ("plan", "chi2")]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("name", "kind"), [("mmd", "MMDDrift"), ("lsdd", "LSDDDrift")])
def test_kernels(name: str, kind: str, shift: float):
    reference, window = normal(200), normal(150, shift, seed=1)

    found = finding(name, reference, window, seed=SEED)

    with seeded(SEED):
        data = direct(kind, *scaled(reference, window), backend="pytorch", n_permutations=PERMUTATIONS, device="cpu")
    assert_equal(found, data)
    assert found.p_safe == pytest.approx((round(found.p_value * PERMUTATIONS) + 1) / (PERMUTATIONS + 1))


def test_a_learned_kernel():
    reference, window = normal(240), normal(220, 0.4, seed=1)

    found = finding("learned-kernel", reference, window, seed=SEED)

    with seeded(SEED):
        one, other = scaled(reference, window)
        options = {"n_permutations": PERMUTATIONS, "epochs": SHORT.epochs, "retrain_from_scratch": False}
        with quiet():
            made = alibi("alibi_detect.cd").LearnedKernelDrift(
                one, learned_kernel(4), backend="pytorch", device="cpu", **options
            )
            data = made.predict(other)["data"]
    assert_equal(found, data)


def test_a_classifier():
    reference, window = normal(200), normal(150, 0.4, seed=1)

    found = finding("classifier", reference, window, seed=SEED)

    with seeded(SEED), quiet():
        one, other = scaled(reference, window)
        made = alibi("alibi_detect.cd").ClassifierDrift(one, network(4), preds_type="logits", **TRAINING)
        data = made.predict(other)["data"]
    assert_equal(found, data)
    assert found.figures["window_scores"] == pytest.approx(data["probs_test"], abs=0)


def test_spot_the_diff():
    reference, window = normal(200), normal(150, 0.4, seed=1)

    found = finding("spot-the-diff", reference, window, seed=SEED)

    with seeded(SEED):
        data = direct("SpotTheDiffDrift", *scaled(reference, window), **TRAINING)
    assert_equal(found, data)
    assert list(found.figures["differences"]) == ["x[0]", "x[1]", "x[2]", "x[3]"]


def test_rows_given_their_context():
    rng = np.random.default_rng(0)
    hours = rng.uniform(size=(110, 1)), rng.uniform(size=(105, 1))
    reference, window = normal(110, features=2) + 3 * hours[0], normal(105, seed=1, features=2) + 3 * hours[1]
    options = {"permutations": 8, "seed": SEED, "given": ("hour",)}

    (found,) = findings("context-mmd", {"x": reference, "hour": hours[0]}, {"x": window, "hour": hours[1]}, **options)

    (x, other), (c, d) = scaled(reference, window), scaled(*hours)
    with seeded(SEED), quiet(), prefit_shim():
        made = alibi("alibi_detect.cd").ContextMMDDrift(x, c, backend="pytorch", n_permutations=8, device="cpu")
        data = made.predict(other, d)["data"]
    assert_equal(found, data)
    assert found.features == ("x",)


@pytest.mark.parametrize(("uncertainty", "answers"), [("entropy", "probs"), ("margin", "probs"), ("entropy", "logits")])
def test_how_sure_a_classifier_is(uncertainty: str, answers: str):
    reference, window = normal(300, features=3), normal(200, seed=1, features=3) * 2

    def model(rows: Any) -> np.ndarray:
        values = rows["x"] if isinstance(rows, dict) else rows
        exponents = np.exp(values)
        return values if answers == "logits" else exponents / exponents.sum(axis=1, keepdims=True)

    options = {"answers": answers, "uncertainty": uncertainty}
    found = finding("classifier-uncertainty", reference, window, model=model, **options)

    data = direct(
        "ClassifierUncertaintyDrift",
        *(reference, window),
        model=model,
        backend=None,
        preds_type=answers,
        uncertainty_type=uncertainty,
    )
    assert_equal(found, data)


def test_how_sure_an_ensemble_is():
    reference, window = normal(300, features=5), normal(200, seed=1, features=5) * 1.5

    found = finding("regressor-uncertainty", reference, window, model=lambda sample: sample["x"])

    options = {"model": lambda rows: rows, "backend": None, "uncertainty_type": "ensemble"}
    assert_equal(found, direct("RegressorUncertaintyDrift", reference, window, **options))


def test_importing_and_running_alibi_detect_says_nothing(recwarn: pytest.WarningsRecorder, capfd: Any):
    finding("mmd", normal(120), normal(120, seed=1))

    assert not [one for one in recwarn if issubclass(one.category, Warning)]
    assert capfd.readouterr().out == ""
