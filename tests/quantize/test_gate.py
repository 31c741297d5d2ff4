"""The gate's word for every kind of measurement. Pure."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.quantize.gate import Demands, Measured, Metric, judge


def metric(drop: float, high: float | None = None) -> Metric:
    return Metric("accuracy", 0.99, 0.99 - drop, drop, (drop - 0.01, drop + 0.01 if high is None else high), 500)


def measured(
    size_ratio: float = 3.0,
    speedup: float | None = 1.0,
    drop: float = 0.0,
    is_finite: bool = True,
    objections: tuple[str, ...] = (),
) -> Measured:
    return Measured(size_ratio, speedup, metric(drop), is_finite, objections)


@pytest.mark.parametrize(
    ("found", "demands", "fact"),
    [
        pytest.param(measured(drop=0.02), Demands(0.01), "accuracy falls by 0.02", id="falls too far"),
        pytest.param(measured(drop=math.nan), Demands(0.01), "accuracy falls by nan", id="not a number"),
        pytest.param(measured(drop=0.005), Demands(0.01, is_confident=True), "may fall by up to 0.015", id="bound"),
        pytest.param(
            Measured(3.0, 1.0, metric(0.0, math.nan)),
            Demands(0.01, is_confident=True),
            "cannot be bounded",
            id="no bound",
        ),
        pytest.param(measured(speedup=1.0), Demands(0.01, min_speedup=1.1), "1.00× as fast", id="too slow"),
        pytest.param(measured(speedup=None), Demands(0.01, min_speedup=1.1), "could not be measured", id="no speed"),
        pytest.param(measured(size_ratio=1.0), Demands(0.01), "nothing is gained", id="no gain"),
        pytest.param(measured(size_ratio=1.0, speedup=None), Demands(0.01), "nothing is gained", id="no gain known"),
        pytest.param(measured(is_finite=False), Demands(0.01), "NaN or infinite", id="overflow"),
        pytest.param(measured(objections=("trees",)), Demands(0.01), "trees", id="objection"),
    ],
)
def test_a_reason_is_given_for_each_refusal(found: Measured, demands: Demands, fact: str) -> None:
    (reason,) = judge(found, demands)

    assert fact in reason


@pytest.mark.parametrize(
    ("found", "demands"),
    [
        pytest.param(measured(drop=0.0), Demands(0.0), id="no fall"),
        pytest.param(measured(drop=0.98 - 0.97), Demands(0.01), id="on the limit"),
        pytest.param(measured(drop=-0.1), Demands(0.0), id="better"),
        pytest.param(measured(size_ratio=0.9, speedup=2.0), Demands(0.01), id="larger and faster"),
        pytest.param(measured(size_ratio=2.0, speedup=0.5), Demands(0.01), id="smaller and slower"),
        pytest.param(Measured(2.0, 1.0, None), Demands(0.0), id="no metric"),
    ],
)
def test_what_is_within_the_demands_passes(found: Measured, demands: Demands) -> None:
    assert judge(found, demands) == []


def test_every_reason_is_listed() -> None:
    found = measured(size_ratio=1.0, speedup=0.9, drop=0.5, is_finite=False, objections=("trees",))

    assert len(judge(found, Demands(0.01, min_speedup=2.0))) == 5


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_allowance_never_refuses_what_a_smaller_one_lets_pass(drop: float, allowed: float) -> None:
    if not judge(measured(drop=drop), Demands(allowed)):
        assert not judge(measured(drop=drop), Demands(allowed + 0.1))


def test_figures_that_are_not_finite_are_null_in_json() -> None:
    figures = Metric("rmse", 0.5, math.nan, math.nan, (math.nan, math.inf), 3).to_dict()

    assert json.loads(json.dumps(figures, allow_nan=False)) == {
        "name": "rmse",
        "before": 0.5,
        "after": None,
        "drop": None,
        "rows": 3,
        "interval": [None, None],
    }
