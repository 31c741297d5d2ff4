"""Layer 4: losses of labelled rows against those at fit: in all, over time, and in parts of the data."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.arriving import WindowRows, read_window
from mlserve.drift.concept import ConceptFound, LossState, Standing, acknowledge, check_concept, unjudged
from mlserve.drift.fitting import FitPlan, fit
from mlserve.drift.losses import fitted_levels, limit_of
from mlserve.drift.profile import Profile
from mlserve.drift.slicing import Slice, features_in, slices_of
from mlserve.drift.windows import Bounds
from tests.drift.making import DIGEST, SIGNATURE, START, TableSource, labels_of, rows_of, run, source, times_of

NUMBER = Signature((TensorSpec("x", DType.FLOAT32, ("batch", 2)),), (TensorSpec("y", DType.FLOAT32, ("batch",)),))


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit(source(12_000), FitPlan(DIGEST, SIGNATURE), run)


def window_of(
    profile: Profile, rows: int, *, seed: int, flip: np.ndarray | float = 0.0, known: float = 1.0, day: float = 30.0
) -> WindowRows:
    """A day's rows, labels flipped with the chance ``flip`` and known with the chance ``known``."""
    inputs = rows_of(rows, seed=seed)
    random = np.random.default_rng(seed + 1)
    labels = labels_of(inputs, seed=seed + 2)
    labels = np.where(random.random(rows) < flip, 1 - labels, labels).astype(np.float64)
    labels[random.random(rows) >= known] = np.nan
    times = times_of(rows, days=1.0) + np.timedelta64(int(day * 86_400e6), "us")
    return read_window(profile, TableSource(inputs, labels, times), run, bounds=Bounds(None, None))


def test_a_model_as_good_as_ever_is_judged_and_no_drift(profile: Profile) -> None:
    found = check_concept(profile, window_of(profile, 3000, seed=10))

    assert found.standing is Standing.JUDGED
    assert not found.drift
    part = found.to_dict()
    assert part["metric"] == "accuracy"
    assert part["interval"][0] < part["measured"] < part["interval"][1]
    # Both are means of thousands of rows: three standard errors of the smaller one.
    assert part["measured"] == pytest.approx(part["fitted"], abs=0.025)


def test_labels_that_contradict_are_a_drop(profile: Profile) -> None:
    found = check_concept(profile, window_of(profile, 3000, seed=11, flip=0.15))

    assert found.drift
    (main, *_) = found.judgements
    assert (main.test, main.drift, main.severity.word) == ("error", True, "warn")
    assert found.drop is not None
    # A flip makes right answers wrong and wrong ones right: 0.15 × (accuracy − error).
    assert found.drop == pytest.approx(0.15 * (1 - 2 * main.expected), abs=0.03)
    assert found.since is not None
    assert found.since - (START + timedelta(days=30)) < timedelta(hours=6)


def test_a_rise_too_small_for_any_day_is_found_over_days(profile: Profile) -> None:
    states: dict[str, LossState] = {}
    verdicts = []
    for day in range(30):
        flip = 0.0 if day < 10 else 0.09
        found = check_concept(
            profile, window_of(profile, 300, seed=100 + 3 * day, flip=flip, day=day), states, mean_rows=20_000
        )
        states = dict(found.states)
        verdicts.append(found)

    assert not any(found.drift for found in verdicts[:10])
    alarmed = next(found for found in verdicts if found.drift)
    assert "bets over" in alarmed.judgements[0].detail
    assert alarmed.since is not None
    # Dated within three days, from errors that are a twelfth more frequent.
    assert abs(alarmed.since - (START + timedelta(days=10))) < timedelta(days=3)
    assert not acknowledge(states)["error"].rising.since


def test_rows_are_bet_on_once_however_often_they_are_read(profile: Profile) -> None:
    window = window_of(profile, 500, seed=20)
    first = check_concept(profile, window)

    again = check_concept(profile, window, first.states)

    assert again.states == first.states
    assert first.states["error"].rising.rows == 500


def test_rows_whose_labels_are_still_coming_are_not_bet_on_yet(profile: Profile) -> None:
    window = window_of(profile, 500, seed=20, day=0.0)

    found = check_concept(profile, window, settled_until=START + timedelta(hours=12))

    assert found.states["error"].rising.rows == pytest.approx(250, abs=1)
    begin = unjudged(found.states, Bounds(START + timedelta(days=3), START + timedelta(days=4))).start
    assert begin is not None
    assert begin <= START + timedelta(hours=12)


def test_states_survive_being_kept(profile: Profile) -> None:
    states = check_concept(profile, window_of(profile, 500, seed=20)).states

    kept = msgspec.json.decode(msgspec.json.encode(states), type=dict[str, LossState])

    assert kept == states


def test_an_alarm_over_time_is_as_rare_as_asked(profile: Profile) -> None:
    alarms = 0
    for seed in range(3):
        states: dict[str, LossState] = {}
        for day in range(7):
            window = window_of(profile, 200, seed=1000 * seed + 7 * day, day=day)
            found = check_concept(profile, window, states)
            states = dict(found.states)
            alarms += found.drift

    # Three weeks at a level of 0.01 for a loss at the limit itself, from which a margin keeps.
    assert alarms == 0


def test_a_slice_that_went_wrong_is_named(profile: Profile) -> None:
    rows = rows_of(4000, seed=31)
    is_team = rows["plan"] == "team"

    found = check_concept(profile, window_of(profile, 4000, seed=31, flip=np.where(is_team, 0.6, 0.0)))

    assert found.drift
    assert found.slices[0].where == "plan = team"
    assert found.slices[0].drift
    assert not any(one.drift for one in found.slices if one.where in ("plan = basic", "plan = plus"))
    assert found.to_dict()["slices"][0]["rows"] == is_team.sum()


@pytest.mark.parametrize(
    ("known", "standing", "said"),
    [
        pytest.param(0.0, Standing.UNLABELLED, "none of 1,000 rows has a label yet", id="none"),
        pytest.param(0.03, Standing.FEW, "100 are needed at least", id="few"),
    ],
)
def test_labels_that_are_missing_are_said(profile: Profile, known: float, standing: Standing, said: str) -> None:
    found = check_concept(profile, window_of(profile, 1000, seed=40, known=known))

    assert found.standing is standing
    assert said in found.why
    assert not found.drift


def test_a_profile_without_labels_has_nothing_to_hold_against() -> None:
    inputs = rows_of(500)
    unlabelled = fit(TableSource(inputs), FitPlan(DIGEST, SIGNATURE), run)

    found = check_concept(unlabelled, window_of(unlabelled, 500, seed=2))

    assert found.standing is Standing.UNFITTED
    assert found.to_dict()["measured"] is None


def numbers_found(noise: float) -> ConceptFound:
    def table(rows: int, seed: int, sd: float) -> TableSource:
        random = np.random.default_rng(seed)
        x = random.normal(size=(rows, 2)).astype(np.float32)
        return TableSource({"x": x}, x[:, 0] * 3 + random.normal(0, sd, rows), times_of(rows))

    def model(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": inputs["x"][:, 0] * 3}

    reference, later = table(4000, 1, 1.0), table(2000, 2, noise)
    for one in (reference, later):
        one.names = {"x": ("a", "b")}
    made = fit(reference, FitPlan(DIGEST, NUMBER), model)  # type: ignore[arg-type]
    return check_concept(made, read_window(made, later, model, bounds=Bounds(None, None)))  # type: ignore[arg-type]


def test_errors_of_numbers_are_judged_in_their_own_unit() -> None:
    usual, worse = numbers_found(1.0), numbers_found(1.6)

    assert not usual.drift
    assert worse.drift
    part = worse.to_dict()
    assert (part["metric"], part["higher_is_better"]) == ("absolute_error", False)
    # The mean of |normal| is 0.798 of its deviation; three standard errors.
    assert part["fitted"] == pytest.approx(0.798, abs=0.03)
    assert part["measured"] == pytest.approx(0.798 * 1.6, abs=0.07)


def test_a_level_is_learned_of_every_loss(profile: Profile) -> None:
    levels = {level.metric: level for level in fitted_levels(profile)}

    assert list(levels) == ["error", "log_loss"]
    assert levels["error"].bound == 1.0
    assert all(0 < level.fitted < level.limit < level.bound for level in levels.values())
    assert limit_of(np.zeros(100))[1] > 0.02


def test_slices_cover_every_row_of_a_number_once(profile: Profile) -> None:
    columns = features_in(profile.schema, profile.sample)
    parts = [part for part in slices_of(profile.schema, columns) if part.column == "age"]

    assert len(parts) == 4
    assert np.sum([part.holds(columns) for part in parts], axis=0).tolist() == [1] * profile.sample.rows
    assert {part.where for part in slices_of(profile.schema, columns) if part.column == "plan"} == {
        "plan = basic",
        "plan = plus",
        "plan = team",
    }
    assert Slice("plan", value="gone").holds(columns).sum() == 0
