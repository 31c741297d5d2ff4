"""Layer 0: what is wrong with the rows themselves is told, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from mlserve.drift.blocks import Block
from mlserve.drift.distinct import Distinct
from mlserve.drift.fitting import FitPlan, fit
from mlserve.drift.judgements import Judgement, Severity
from mlserve.drift.profile import Profile
from mlserve.drift.quality import Arrived, judge_quality, window_summary
from mlserve.drift.said import Said, SaidFeature
from mlserve.drift.sample import RowSample
from mlserve.drift.scanning import scan
from mlserve.drift.sources import Faults
from tests.drift.making import DIGEST, SIGNATURE, START, fitted, rows_of, run, source


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fitted()


def arrived(profile: Profile, inputs: dict[str, np.ndarray], **changes: object) -> Arrived:
    rows = len(inputs["x"])
    empty = {name: window_summary(profile, name) for name in profile.summaries}
    block = Block(0, rows, inputs, run(inputs))
    found = scan([block], profile.schema, profile.prediction, empty, RowSample())
    return replace(Arrived(found.summaries, found.distinct, rows, float(rows)), **changes)  # type: ignore[arg-type]


def told(judgements: list[Judgement]) -> dict[tuple[str | None, str], Severity]:
    return {(one.name, one.test): one.severity for one in judgements if one.severity}


@pytest.mark.parametrize("seed", range(10, 30))
def test_nothing_is_told_of_rows_as_they_always_were(profile: Profile, seed: int) -> None:
    assert told(judge_quality(profile, arrived(profile, rows_of(800, seed=seed)))) == {}


def test_a_column_gone_null_is_critical_drift(profile: Profile) -> None:
    inputs = rows_of(300, seed=2)
    inputs["x"][:, 0] = np.nan
    inputs["plan"][:] = None

    judgements = judge_quality(profile, arrived(profile, inputs))

    gone = {one.name: one for one in judgements if one.test == "nulls" and one.severity}
    assert gone["amount"].severity is gone["plan"].severity is Severity.CRITICAL
    assert gone["amount"].drift
    assert gone["amount"].detail.startswith("gone null: 100.00% null, 0.00% in the reference")


@pytest.mark.parametrize(
    ("share", "severity"), [(0.001, None), (0.02, Severity.WARN), (0.5, Severity.CRITICAL)], ids=["0.1%", "2%", "50%"]
)
def test_a_burst_of_nulls_is_told_by_its_share(profile: Profile, share: float, severity: Severity | None) -> None:
    inputs = rows_of(2000, seed=3)
    inputs["x"][: int(share * 2000), 1] = np.nan

    assert told(judge_quality(profile, arrived(profile, inputs))).get(("age", "nulls")) is severity


def test_nulls_as_many_as_there_always_were_are_none(profile: Profile) -> None:
    inputs = rows_of(4000)
    inputs["x"][::5, 0] = np.nan
    with_nulls = source()
    with_nulls.inputs = inputs
    usual = fit(with_nulls, FitPlan(DIGEST, SIGNATURE), run)
    window = rows_of(500, seed=4)
    window["x"][::5, 0] = np.nan

    assert told(judge_quality(usual, arrived(usual, window))) == {}


def test_one_null_is_told_where_none_is_allowed() -> None:
    strict = fitted(said=Said(features={"age": SaidFeature(nullable=False)}))
    inputs = rows_of(2000, seed=3)
    inputs["x"][0, 1] = np.nan

    assert told(judge_quality(strict, arrived(strict, inputs)))["age", "nulls"] is Severity.WARN


def test_another_unit_leaves_the_range(profile: Profile) -> None:
    inputs = rows_of(200, seed=5)
    inputs["x"][:, 1] *= 1000

    assert told(judge_quality(profile, arrived(profile, inputs)))["age", "range"] is Severity.CRITICAL


def test_said_bounds_hold_whatever_the_reference_has() -> None:
    bounded = fitted(said=Said(features={"age": SaidFeature(low=0.0, high=120.0)}))
    inputs = rows_of(500, seed=5)
    inputs["x"][:50, 1] = 110.0  # beyond the reference, and allowed
    assert told(judge_quality(bounded, arrived(bounded, inputs))) == {}

    inputs["x"][:50, 1] = -1.0

    assert told(judge_quality(bounded, arrived(bounded, inputs)))["age", "range"] is Severity.WARN


def test_infinite_values_are_told(profile: Profile) -> None:
    inputs = rows_of(500, seed=6)
    inputs["x"][0, 0] = np.inf
    assert told(judge_quality(profile, arrived(profile, inputs)))["amount", "infinities"] is Severity.LOW

    inputs["x"][:20, 0] = -np.inf

    assert told(judge_quality(profile, arrived(profile, inputs)))["amount", "infinities"] is Severity.WARN


def test_categories_that_the_reference_has_not_are_named(profile: Profile) -> None:
    inputs = rows_of(500, seed=7)
    inputs["plan"][:30] = "enterprise"

    (one,) = [one for one in judge_quality(profile, arrived(profile, inputs)) if one.severity]

    assert (one.name, one.test, one.severity, one.actual) == ("plan", "unseen", Severity.WARN, ["enterprise"])


def test_a_stuck_sensor_is_critical_and_a_short_run_of_what_is_common_is_not(profile: Profile) -> None:
    inputs = rows_of(60, seed=8)
    inputs["x"][:, 1] = 42.0
    stuck = told(judge_quality(profile, arrived(profile, inputs)))
    common = rows_of(8, seed=8)
    common["plan"][:] = "basic"

    assert stuck["age", "constant"] is Severity.CRITICAL
    assert ("plan", "constant") not in told(judge_quality(profile, arrived(profile, common)))


def test_rows_sent_again_and_again_are_told(profile: Profile) -> None:
    inputs = {name: np.concatenate([array] * 3) for name, array in rows_of(200, seed=9).items()}

    assert told(judge_quality(profile, arrived(profile, inputs)))[None, "duplicates"] is Severity.WARN


def test_columns_that_are_missing_unknown_or_of_another_type_are_told(profile: Profile) -> None:
    window = arrived(profile, rows_of(100, seed=1), faults=Faults(("amount",), ("new",), (("age", "text"),)))

    found = told(judge_quality(profile, window))

    assert found["amount", "missing"] is found["age", "type"] is Severity.CRITICAL
    assert found["new", "extra"] is Severity.LOW


@pytest.mark.parametrize(
    ("rows", "severity"),
    [(400, None), (300, None), (150, Severity.WARN), (20, Severity.CRITICAL), (1500, Severity.WARN)],
)
def test_a_day_of_far_more_or_fewer_rows_is_told(profile: Profile, rows: int, severity: Severity | None) -> None:
    # The reference has 400 a day.
    window = arrived(profile, rows_of(rows, seed=1), start=START, end=START + timedelta(days=1))

    assert told(judge_quality(profile, window)).get((None, "rows")) is severity


def test_rows_that_stopped_hours_ago_are_told(profile: Profile) -> None:
    day = {"start": START, "end": START + timedelta(days=1)}
    fresh = arrived(profile, rows_of(400, seed=1), **day, last=START + timedelta(hours=23.9))
    stale = arrived(profile, rows_of(400, seed=1), **day, last=START + timedelta(hours=12))

    assert (None, "freshness") not in told(judge_quality(profile, fresh))
    assert told(judge_quality(profile, stale))[None, "freshness"] is Severity.WARN


def test_of_no_rows_nothing_is_said(profile: Profile) -> None:
    assert judge_quality(profile, Arrived({}, Distinct(), 0, 0.0)) == []
