"""What a run costs, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.runtime.costs import Costs, measure
from mlserve.runtime.model import load_model
from tests import models


class VirtualModel:
    """Takes ``alpha + beta * rows`` on its own clock."""

    def __init__(self, alpha_s: float, beta_s: float, operators: frozenset[str] = frozenset()) -> None:
        self.now_s = 0.0
        self.alpha_s, self.beta_s, self.operators = alpha_s, beta_s, operators
        self.runs = self.largest = 0

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        self.runs += 1
        self.largest = max(self.largest, len(inputs["x"]))
        self.now_s += self.alpha_s + self.beta_s * len(inputs["x"])
        return {}

    def clock(self) -> float:
        return self.now_s


def measured(model: VirtualModel, *, batchable: bool = True, budget_s: float = 10.0) -> Costs:
    return measure(model, {"x": np.ones((32, 1))}, batchable=batchable, budget_s=budget_s, clock=model.clock)  # type: ignore[arg-type]


def test_the_line_through_two_batch_sizes_is_found() -> None:
    costs = measured(VirtualModel(0.004, 0.001))

    assert costs.alpha_s == pytest.approx(0.004)
    assert costs.beta_s == pytest.approx(0.001)


def test_a_model_that_is_not_batchable_is_timed_as_it_is_called() -> None:
    assert measured(VirtualModel(0.1, 0.1), batchable=False).alpha_s == pytest.approx(0.1 + 32 * 0.1)


def test_measuring_a_slow_model_ends_with_its_budget() -> None:
    model = VirtualModel(60.0, 0.0)

    costs = measured(model, budget_s=1.0)

    assert model.runs == 1
    assert costs.useful_rows() == 1


def test_a_batch_is_timed_as_large_as_the_budget_allows() -> None:
    for budget_s, largest in ((40.0, 32), (30.0, 8)):
        model = VirtualModel(0.0, 1.0)

        measured(model, budget_s=budget_s + 18.0)

        assert model.largest == largest


def test_a_cheap_model_runs_inline_and_a_dear_one_does_not() -> None:
    assert measured(VirtualModel(20e-6, 1e-6)).is_inline
    assert not measured(VirtualModel(300e-6, 1e-6)).is_inline


def test_control_flow_is_never_inline() -> None:
    assert not measured(VirtualModel(20e-6, 1e-6, frozenset({"Loop"}))).is_inline


@pytest.mark.parametrize(
    ("costs", "rows"),
    [
        pytest.param(Costs(1e-3, 9e-3, False), 2, id="nothing to gain"),
        pytest.param(Costs(8e-3, 1e-3, False), 128, id="a large fixed part"),
        pytest.param(Costs(1e-3, 0.0, False), 256, id="rows for nothing"),
        pytest.param(Costs(20e-6, 10e-6, False), 128, id="inline: what the loop can spare"),
        pytest.param(Costs(240e-6, 9e-6, False), 128, id="inline and not very cheap"),
        pytest.param(Costs(8e-3, 1e-3, False, knee_rows=4), 4, id="a knee"),
        pytest.param(Costs(20e-6, 10e-6, False, knee_rows=4), 128, id="a knee, and inline"),
    ],
)
def test_the_useful_batch_size_follows(costs: Costs, rows: int) -> None:
    assert costs.useful_rows() == rows


class BentModel(VirtualModel):
    """Cheaper a row up to ``knee`` rows, and as dear a row as ever beyond."""

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        rows = len(inputs["x"])
        self.now_s += 0.006 + 0.002 * rows if rows <= 4 else 0.0035 * rows
        return {}


def test_a_batch_is_no_larger_than_where_a_row_is_as_cheap_as_it_gets() -> None:
    assert measured(BentModel(0, 0)).useful_rows() == 4


def test_a_row_that_only_gets_cheaper_has_no_knee() -> None:
    assert measured(VirtualModel(0.1, 0.001)).knee_rows is None


def test_a_real_model_is_measured() -> None:
    model = load_model(models.classifier().SerializeToString(), device="cpu")

    costs = measure(model, {"x": np.ones((32, 4), np.float32)}, batchable=True, budget_s=5.0)

    assert costs.alpha_s >= 0.0
    assert not costs.has_control_flow
    with pytest.raises(InvalidInput):
        measure(model, {"x": np.ones((32, 5), np.float32)}, batchable=True, budget_s=5.0)
