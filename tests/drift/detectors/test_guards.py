"""What alibi-detect gets wrong by itself: nulls, empty categories, rounded p-values, memory, random state."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import stats

from mlserve.drift.detectors.columns import MAX_CATEGORIES, numbered
from mlserve.drift.detectors.detector import State
from mlserve.drift.detectors.engines import alibi, quiet
from mlserve.drift.detectors.kernels import learned_kernel, most_rows
from mlserve.drift.detectors.seeding import seeded
from mlserve.errors import InvalidInput, Unsupported, UsageError
from tests.drift.detectors.samples import finding, findings, normal
from tests.models import classifier

SINGLE = ["ks", "cvm", "chi2"]
ENGINES = ["alibi-detect", "scipy"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SINGLE)
def test_a_column_gone_null_is_never_no_drift(name: str, engine: str):
    found = finding(name, normal(100)[:, 0].round(), np.full(100, np.nan), engine=engine)

    assert found.state is State.MISSING
    assert (found.p_value, found.p_safe) == (None, None)
    assert found.missing == (0, 100)
    assert found.notes == ("all 100 rows of the window are missing",)


@pytest.mark.parametrize("name", ["mmd", "classifier"])
def test_rows_gone_null_are_never_no_drift(name: str):
    window = normal(120, seed=1)
    window[:, 2] = np.nan

    found = finding(name, normal(120), window)

    assert found.state is State.MISSING
    assert found.p_value is None


@pytest.mark.parametrize("name", SINGLE)
def test_missing_values_are_taken_out_and_told(name: str):
    reference, window = normal(200)[:, 0].round(), normal(200, seed=1)[:, 0].round()
    holed = window.copy()
    holed[:50] = np.nan

    found, without = finding(name, reference, holed), finding(name, reference, window[50:])

    assert (found.p_value, found.statistic) == (without.p_value, without.statistic)
    assert found.rows == (200, 150)
    assert "without 0 reference and 50 window rows that are missing" in found.notes


@pytest.mark.parametrize(
    "holed",
    [
        pytest.param(np.array(["a", "b", None, "a"] * 25, dtype=object), id="None"),
        pytest.param(np.ma.masked_array(["a", "b", "c", "a"] * 25, mask=[False, False, True, False] * 25), id="masked"),
        pytest.param(np.array(["a", "b", float("nan"), "a"] * 25, dtype=object), id="NaN"),
    ],
)
def test_a_missing_category_is_no_category(holed: Any):
    reference = np.array(["a", "b", "a"] * 40)

    found = finding("chi2", reference, holed)

    assert found.missing == (0, 25)
    assert found.effect.value == pytest.approx(0.0, abs=1e-12)


def test_a_masked_number_is_missing():
    window = np.ma.masked_array(normal(100)[:, 0], mask=[True] * 40 + [False] * 60)

    assert finding("ks", normal(100)[:, 0], window).rows == (100, 60)
    assert finding("mmd", normal(200), np.ma.masked_array(normal(200), mask=normal(200) > 2)).missing[1] > 0


@pytest.mark.parametrize("name", ["ks", "chi2", "mmd", "classifier-uncertainty"])
def test_too_few_rows_are_insufficient(name: str):
    found = (
        finding(name, normal(200), normal(9), model=lambda sample: np.full((len(sample["x"]), 2), 0.5))
        if (name in ("mmd", "classifier-uncertainty"))
        else finding(name, normal(200)[:, 0], normal(9)[:, 0])
    )

    assert found.state is State.INSUFFICIENT
    assert found.p_safe is None
    assert "the window has 9 rows" in found.notes[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_window_is_insufficient(engine: str):
    assert finding("ks", normal(200)[:, 0], np.empty(0), engine=engine).state is State.INSUFFICIENT


@pytest.mark.parametrize("engine", ENGINES)
def test_a_category_that_neither_sample_has_does_not_count(engine: str):
    reference, window = np.array([0, 1, 9] * 50), np.array([0, 1, 9] * 30)

    found = finding("chi2", reference, window, engine=engine)

    assert found.p_value == pytest.approx(1.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_constant_column_that_stays_is_no_drift(engine: str):
    for name in ("ks", "chi2", "fisher"):
        found = finding(name, np.ones(100), np.ones(100), engine=engine)

        assert found.p_value == 1.0
        assert found.effect.value == 0.0


def test_a_p_value_that_was_rounded_to_zero_is_not_zero_to_decide_by():
    found = finding("ks", normal(5000)[:, 0], normal(5000, 9.0)[:, 0], engine="alibi-detect")

    assert found.p_value == 0.0
    assert 0 < found.p_safe < 1e-40


def test_a_permutation_never_gives_zero_to_decide_by():
    found = finding("mmd", normal(150), normal(150, 2.0, seed=1), permutations=50)

    assert found.p_value == 0.0
    assert found.p_safe == pytest.approx(1 / 51)


def test_few_rows_a_category_are_permuted():
    rng = np.random.default_rng(0)
    reference, window = rng.integers(0, 60, 80), rng.integers(0, 60, 40)

    found = finding("chi2", reference, window, engine="scipy")

    assert found.p_safe >= found.p_value
    assert "by permutation" in found.notes[-1]


@pytest.mark.slow
def test_permuted_p_values_of_sparse_tables_hold_their_level(in_full: bool):
    rng = np.random.default_rng(0)
    runs = 600 if in_full else 20
    weights = rng.dirichlet(np.full(40, 0.3))

    p_values = [
        finding("chi2", rng.choice(40, 60, p=weights), rng.choice(40, 40, p=weights), engine="scipy").p_safe
        for _ in range(runs)
    ]

    assert np.mean(np.array(p_values) <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / runs)


def test_thousands_of_categories_become_a_thousand():
    values = np.concatenate([np.arange(MAX_CATEGORIES * 2) % (MAX_CATEGORIES + 500), np.full(9, -1)])

    one, other, folded = numbered(values, values)

    assert folded == 502
    assert np.array_equal(one, other)
    assert one.max() == MAX_CATEGORIES - 1
    assert (one == 0).sum() == 9


def test_a_kernel_matrix_is_bounded_and_the_sample_told():
    found = finding("mmd", normal(3000), normal(400, seed=1), max_bytes=4 << 20)

    assert sum(found.rows) == most_rows(4 << 20) == 418
    assert found.notes == ("209 of 3,000 reference rows and 209 of 400 window rows were drawn",)


def test_a_constant_feature_does_not_blind_the_kernel():
    reference, window = normal(150), normal(150, 2.0, seed=1)
    reference[:, 0] = window[:, 0] = 3.0

    assert finding("mmd", reference, window).p_value == 0.0


def test_rows_that_are_all_the_same_are_no_drift():
    assert finding("mmd", np.ones((150, 2)), np.ones((150, 2))).p_value == 1.0


def test_rows_that_lsdd_cannot_judge_are_refused():
    with pytest.raises(Unsupported, match="lsdd cannot judge these rows") as caught:
        finding("lsdd", np.ones((150, 2)), np.ones((150, 2)))

    assert caught.value.hint == "--detector mmd"


@pytest.mark.parametrize("name", ["mmd", "classifier"])
def test_random_state_is_given_back_and_the_seed_decides(name: str):
    reference, window = normal(120), normal(120, 0.2, seed=1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    first, again = (finding(name, reference, window, seed=3, epochs=1, permutations=20) for _ in range(2))

    assert (first.p_value, first.statistic) == (again.p_value, again.statistic)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_neither_sample_is_changed():
    reference, window = normal(150), normal(150, seed=1)
    copies = reference.copy(), window.copy()

    for name in ("mmd", "lsdd"):
        finding(name, reference, window)

    assert np.array_equal(reference, copies[0])
    assert np.array_equal(window, copies[1])


def test_alibi_detect_still_judges_by_a_kernel_that_it_did_not_train():
    """When this fails, ``LearnedKernel`` may leave ``retrain_from_scratch`` alone."""
    rows = normal(200).astype(np.float32)
    with seeded(0), quiet():
        kernel = learned_kernel(4)
        made = alibi("alibi_detect.cd").LearnedKernelDrift(
            rows, kernel, backend="pytorch", n_permutations=5, epochs=1, verbose=0, retrain_from_scratch=True
        )
        judged_by = made.predict(rows[:150] + 1)["data"]["kernel"]

    assert all(
        torch.equal(one, other)
        for one, other in zip(kernel.proj.parameters(), judged_by.proj.parameters(), strict=True)
    )


def test_a_shift_that_the_context_explains_is_no_drift():
    rng = np.random.default_rng(0)
    hours = rng.uniform(0, 1, (110, 1)), rng.uniform(0.5, 1, (110, 1))
    reference, window = (3 * hour + rng.normal(0, 0.3, hour.shape) for hour in hours)
    options = {"permutations": 25}

    (given,) = findings(
        *("context-mmd", {"x": reference, "hour": hours[0]}, {"x": window, "hour": hours[1]}),
        **options,
        given=("hour",),
    )
    plain = finding("mmd", reference, window, **options)

    assert plain.p_safe < 0.05 < given.p_safe


@pytest.mark.parametrize(
    ("reference", "window", "match"),
    [
        pytest.param({"a": np.zeros(50)}, {"b": np.zeros(50)}, "not the same columns: a, b", id="names"),
        pytest.param({"a": np.zeros((50, 2))}, {"a": np.zeros((50, 3))}, "shape", id="shapes"),
        pytest.param(
            {"a": np.zeros(5), "b": np.zeros(6)}, {"a": np.zeros(5), "b": np.zeros(6)}, "number of rows", id="rows"
        ),
        pytest.param({"a": np.array(["x"] * 50)}, {"a": np.zeros(50)}, "not numbers", id="texts"),
        pytest.param({}, {}, "none at all", id="nothing"),
    ],
)
def test_samples_that_do_not_fit_are_refused(reference: Any, window: Any, match: str):
    with pytest.raises(InvalidInput, match=match):
        findings("ks", reference, window, engine="scipy")


def test_fisher_takes_two_values():
    with pytest.raises(InvalidInput, match="'x' has 3 values, and fisher takes 2") as caught:
        finding("fisher", np.arange(60) % 3, np.arange(60) % 3)

    assert caught.value.hint == "--detector chi2"


@pytest.mark.parametrize(
    ("name", "answers", "match"),
    [
        pytest.param("regressor-uncertainty", np.zeros(50), "one prediction a row", id="no ensemble"),
        pytest.param("classifier-uncertainty", np.full((50, 2), 3.0), "sum to 1", id="logits taken for probs"),
        pytest.param("classifier-uncertainty", np.zeros((7, 2)), "7 answers to 50 rows", id="rows"),
    ],
)
def test_answers_that_say_nothing_of_certainty_are_refused(name: str, answers: Any, match: str):
    with pytest.raises(InvalidInput, match=match):
        finding(name, np.zeros((50, 2)), np.zeros((50, 2)), model=lambda _: answers)


@pytest.mark.parametrize("name", ["classifier-uncertainty", "context-mmd"])
def test_what_a_detector_needs_is_asked_for(name: str):
    with pytest.raises(UsageError):
        finding(name, normal(50), normal(50))


@pytest.mark.parametrize("rows", [40, 400])
def test_scipys_engine_is_scipy(rows: int):
    reference, window = normal(rows)[:, 0], normal(rows, 0.2, seed=1)[:, 0]
    codes = (np.abs(one).astype(int) for one in (reference, window))
    one, other = codes

    assert finding("ks", reference, window, engine="scipy").p_value == stats.ks_2samp(reference, window).pvalue
    wanted = stats.cramervonmises_2samp(reference, window).pvalue
    assert finding("cvm", reference, window, engine="scipy").p_value == wanted
    table = np.array([np.bincount(part, minlength=5) for part in (one, other)])
    wanted = stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue
    assert finding("chi2", one, other, engine="scipy").p_value == wanted
    wanted = stats.fisher_exact(
        [[(window > 0).sum(), (reference > 0).sum()], [(window <= 0).sum(), (reference <= 0).sum()]]
    ).pvalue
    assert finding("fisher", reference > 0, window > 0, engine="scipy").p_value == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["ks", "cvm", "chi2", "fisher", "tabular"])
def test_both_engines_say_the_same(name: str):
    """Of many rows; of few, scipy's ks is exact."""
    reference, window = np.arange(20_000) % 2 * 1.0, np.arange(20_000) % 7 % 2 * 1.0

    one, other = (finding(name, reference, window, engine=engine) for engine in ENGINES)

    assert one.statistic == pytest.approx(other.statistic, rel=1e-6)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-3, abs=1e-40)


def test_the_model_asked_may_run_in_onnx_runtime():
    session = onnxruntime.InferenceSession(classifier().SerializeToString(), providers=["CPUExecutionProvider"])
    reference, window = normal(300).astype(np.float32), normal(300, seed=1).astype(np.float32) * 0.05
    window[0] = np.nan

    found = finding(
        "classifier-uncertainty", reference, window, model=lambda sample: session.run(None, dict(sample))[0]
    )

    assert found.rows == (300, 299)
    assert found.p_safe < 0.001
    assert found.effect.value > 0.3
