"""Metrics before and after, over rows that both models answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlserve.errors import InvalidInput, Unsupported
from mlserve.quantize.evaluating import MAX_DRAWS, MIN_DRAWS, Answers, _draws, answer, measure_metric
from mlserve.rows.reading import RowBatch

RNG = np.random.default_rng(3)


def probabilities(labels: Any, wrong: int = 0) -> dict[str, Any]:
    """Sure of ``labels`` but for the first ``wrong`` rows."""
    told = labels.copy()
    told[:wrong] = 1 - told[:wrong]
    return {"p": np.stack([1 - told, told], axis=1) * 0.8 + 0.1}


def answers(wrong: int, rows: int = 200) -> Answers:
    labels = RNG.integers(0, 2, rows)
    return Answers(probabilities(labels), probabilities(labels, wrong), labels, rows)


def test_accuracy_falls_by_the_rows_that_went_wrong() -> None:
    found = measure_metric("accuracy", answers(wrong=10), seed=0)

    assert (found.before, found.after, found.rows) == (1.0, 0.95, 200)
    assert found.drop == pytest.approx(0.05)
    low, high = found.interval
    assert 0.02 <= low < 0.05 < high <= 0.09  # a binomial share of 10 in 200 has a standard error of 0.015


def test_the_same_seed_gives_the_same_interval() -> None:
    some = answers(wrong=10)

    assert measure_metric("accuracy", some, seed=1) == measure_metric("accuracy", some, seed=1)


def test_agreement_takes_the_original_for_the_truth() -> None:
    some = answers(wrong=10)

    found = measure_metric("agreement", Answers(some.before, some.after, None, some.rows), seed=0)

    assert (found.before, found.after) == (1.0, 0.95)


def test_where_less_is_better_more_is_a_fall() -> None:
    labels = np.zeros(50)
    found = measure_metric("rmse", Answers({"y": labels + 1}, {"y": labels + 2}, labels, 50), seed=0)

    assert (found.before, found.after, found.drop) == (1.0, 2.0, 1.0)


def test_draws_without_one_of_the_classes_are_left_out() -> None:
    labels = np.array([0, 0, 0, 1])
    found = measure_metric("auc", Answers(probabilities(labels), probabilities(labels), labels, 4), seed=0)

    assert found.interval == (0.0, 0.0)


def test_a_metric_that_needs_labels_asks_for_them() -> None:
    some = answers(wrong=1)

    with pytest.raises(InvalidInput, match="needs labels"):
        measure_metric("accuracy", Answers(some.before, some.after, None, some.rows), seed=0)


@pytest.mark.parametrize(("values", "draws"), [(10, MAX_DRAWS), (10**9, MIN_DRAWS)])
def test_large_outputs_are_drawn_less_often(values: int, draws: int) -> None:
    output = np.broadcast_to(np.float32(0), (values,))

    assert _draws(Answers({"y": output}, {"y": output}, None, values)) == draws


@pytest.mark.parametrize(
    ("before", "after", "is_finite"),
    [
        ([1.0, 2.0], [1.0, 3.0], True),
        ([1.0, 2.0], [1.0, np.inf], False),
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, 2.0], [np.nan, 2.0], False),
    ],
)
def test_only_values_that_were_finite_must_stay_so(before: Any, after: Any, is_finite: bool) -> None:
    assert Answers({"y": np.array(before)}, {"y": np.array(after)}, None, 2).is_finite is is_finite


def batches(*lengths: int) -> Iterator[RowBatch]:
    for length in lengths:
        yield RowBatch(0, {"x": np.ones((2, length))}, {"label": np.zeros(2)})


def echo(inputs: Any) -> dict[str, Any]:
    return {"y": inputs["x"]}


def test_outputs_and_labels_of_all_batches_are_joined() -> None:
    found = answer(echo, echo, batches(3, 3))

    assert found.rows == 4
    assert found.before["y"].shape == (4, 3)
    assert found.labels is not None
    assert found.labels.shape == (4,)


def test_outputs_of_unequal_shape_are_unsupported() -> None:
    with pytest.raises(Unsupported, match="differ in shape"):
        answer(echo, echo, batches(3, 4))


def test_data_without_rows_is_invalid() -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        answer(echo, echo, batches())


def test_a_metric_that_is_nan_for_the_original_is_an_error_and_no_fall() -> None:
    some = {"y": np.array([[0.5, np.nan], [0.1, 0.9]])}

    with pytest.raises(InvalidInput, match="the original's log_loss is NaN"):
        measure_metric("log_loss", Answers(some, some, np.array([1, 1]), 2), seed=0)
    with pytest.raises(InvalidInput, match="output 'y' of the other model holds NaN"):
        measure_metric("rmse", Answers(some, some, None, 2), seed=0)


@pytest.mark.parametrize(("rows", "bound"), [(128, 0.0284), (719, 0.0051)])
@pytest.mark.parametrize("name", ["accuracy", "agreement"])
def test_rows_that_all_went_well_do_not_prove_that_none_goes_wrong(name: str, rows: int, bound: float) -> None:
    found = measure_metric(name, answers(wrong=0, rows=rows), seed=0)

    assert found.drop == 0
    assert found.interval[1] == pytest.approx(bound, abs=1e-4)


def test_groups_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 4)
    labels = np.tile([2, 1, 0, 0], 50)
    noise = rng.normal(size=200)
    told = Answers({"s": labels + 0.1 * noise}, {"s": labels + noise}, labels, 200, groups)

    found = measure_metric("ndcg", told, seed=0)

    low, high = found.interval
    assert found.before == pytest.approx(1.0)
    assert low < found.drop < high
    assert low > 0


def test_the_original_keeps_all_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(100, 8))
    told = Answers({"e": before}, {"e": before + 0.2 * rng.normal(size=before.shape)}, None, 100)

    found = measure_metric("neighbours", told, seed=0)

    assert found.before == 1.0
    assert 0.3 < found.after < 1.0
    assert found.interval[0] < found.drop < found.interval[1]
