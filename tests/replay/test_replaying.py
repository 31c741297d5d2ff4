"""A replay answers every captured request with real sessions, in order, and may be interrupted anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlserve.compare.ladder.packing import pack, unpack
from mlserve.errors import InvalidInput
from mlserve.replay.answering import Version, misfits
from mlserve.replay.found import Found
from mlserve.replay.lanes import Lanes
from mlserve.replay.replaying import Plan, replay_fast, replay_paced
from mlserve.rows.captured_reading import GATHER_REQUESTS, Captured
from tests import models
from tests.replay.making import Counting, answered_by, counted, found, loaded, version
from tests.traffic.making import captured, recorded

RUNS = [[1, 2, 1], [3], [1] * 7, [2, 2]] * 5
ROWS = sum(map(sum, RUNS))


@pytest.mark.parametrize("composition", ["recorded", "fresh"])
def test_the_recorded_version_answers_as_it_did(tmp_path: Path, composition: object) -> None:
    with loaded(models.labelled_classifier()) as model:
        answered_by(model, tmp_path, RUNS)
        state = found()

        assert replay_fast(Captured(tmp_path), [version(model)], Plan(composition, lanes=2), state)  # type: ignore[arg-type]

    assert (counted(state).rows, state.coverage.requests) == (ROWS, sum(map(len, RUNS)))
    if composition == "recorded":
        assert counted(state).identical == ROWS
        assert (state.coverage.runs, state.coverage.whole_runs) == (len(RUNS), len(RUNS))


def test_several_candidates_are_compared_in_one_pass(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model, loaded(models.classifier(seed=1)) as other:
        answered_by(model, tmp_path, RUNS)
        state = found(2)

        replay_fast(Captured(tmp_path), [version(model), version(other)], Plan(), state)

    assert counted(state, 0).identical == ROWS
    assert counted(state, 1).identical == 0


def test_a_baseline_is_run_beside(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model, loaded(models.classifier(seed=1)) as other:
        answered_by(model, tmp_path, RUNS)
        state = found()
        plan = Plan(baseline=version(other), noise=version(other))

        replay_fast(Captured(tmp_path), [version(other, "m:2")], plan, state)

    assert counted(state).identical == ROWS
    assert counted(state).again > 0


def test_one_request_that_is_refused_takes_no_other_along(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model:
        answered_by(model, tmp_path, [[1, 2, 1], [1]])

        def run(inputs: object) -> object:
            x = inputs["x"]  # type: ignore[index]
            if len(x) > 2 or len(x) == 2:
                raise InvalidInput("the model refused the inputs: too wide")
            return model.run(inputs)  # type: ignore[arg-type]

        picky = Version("m:2", None, model.signature, run, 8)  # type: ignore[arg-type]
        state = found()
        replay_fast(Captured(tmp_path), [picky], Plan(), state)

    assert counted(state).ids == ["r0-0", "r0-2", "r1-0"]
    assert counted(state).identical == 3
    assert state.candidates[0].failed == 1
    assert state.candidates[0].failures == [{"request_id": "r0-1", "error": "the model refused the inputs: too wide"}]


def test_outputs_of_another_shape_are_failures_and_not_differences(tmp_path: Path) -> None:
    with loaded(models.classifier(classes=3)) as model, loaded(models.classifier(classes=4)) as wide:
        answered_by(model, tmp_path, [[1, 1]])
        state = found()

        replay_fast(Captured(tmp_path), [version(wide)], Plan(), state)

    assert (state.candidates[0].failed, state.candidates[0].rows) == (2, 0)
    assert "baseline's" in state.candidates[0].failures[0]["error"]


def test_a_limit_ends_it_early(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model:
        answered_by(model, tmp_path, RUNS)
        state = found()

        replay_fast(Captured(tmp_path), [version(model)], Plan(limit=5), state)

    assert state.coverage.requests == 5


def test_what_was_left_out_is_counted_once(tmp_path: Path) -> None:
    parts = [recorded((1,), start=number, status=500 if number % 3 == 0 else 200) for number in range(9)]
    captured(tmp_path, *[part for part in parts])

    def run(inputs: object) -> object:
        x = inputs["x"]  # type: ignore[index]
        return {"label": np.zeros(len(x), np.int64), "p": x[:, :2] / np.float32(7)}

    from tests.traffic.making import SIGNATURE

    state = found()
    replay_fast(Captured(tmp_path), [Version("m:1", None, SIGNATURE, run, 8)], Plan(), state)  # type: ignore[arg-type]

    assert state.coverage.left_out == {"status 500": 3}
    assert state.coverage.requests == 6


def test_labels_go_with_their_rows(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model:
        answered_by(model, tmp_path, [[1, 2], [1]])
        state = found()
        plan = Plan(labels=lambda batch: np.ma.masked_equal(np.arange(batch.rows) % 2, 1))

        replay_fast(Captured(tmp_path), [version(model)], plan, state)

    assert counted(state).labelled == 2


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_an_interrupted_replay_comes_to_the_same_figures(tmp_path: Path, stop_after: int) -> None:
    with loaded(models.classifier()) as model, loaded(models.classifier(seed=1)) as other:
        answered_by(model, tmp_path, [[1] * (GATHER_REQUESTS // 8)] * 40)
        versions = [version(model, max_rows=256), version(other, max_rows=256)]
        whole = found(2)
        assert replay_fast(Captured(tmp_path), versions, Plan("fresh", lanes=2), whole)
        part = found(2)
        asked = iter(range(100))

        is_done = replay_fast(
            Captured(tmp_path), versions, Plan("fresh", lanes=2), part, stop=lambda: next(asked) == stop_after - 1
        )
        assert not is_done
        assert part.coverage.requests < whole.coverage.requests
        rest = Found.restored(unpack(pack(part.state())), Counting.from_state)
        assert replay_fast(Captured(tmp_path), versions, Plan("fresh", lanes=2), rest)

    for which in (0, 1):
        assert counted(rest, which).state() == counted(whole, which).state()
    assert rest.coverage == whole.coverage


@pytest.mark.parametrize("composition", ["recorded", "fresh"])
def test_at_a_speed_of_its_own_everything_is_answered_too(tmp_path: Path, composition: object) -> None:
    with loaded(models.classifier()) as model, loaded(models.classifier(seed=1)) as other:
        answered_by(model, tmp_path, RUNS, gap_s=0.002)
        state = found(2)
        plan = Plan(composition, speed=4.0)  # type: ignore[arg-type]

        with Lanes([version(model), version(other)], composition, 1) as wire:  # type: ignore[arg-type]
            assert replay_paced(Captured(tmp_path), wire, plan, state, in_runs=composition == "recorded")

    assert counted(state, 0).rows == counted(state, 1).rows == ROWS
    if composition == "recorded":
        assert counted(state, 0).identical == ROWS
    assert state.lag.lags.count == sum(map(len, RUNS))
    assert state.candidates[0].replayed.count == sum(map(len, RUNS))


def test_a_paced_replay_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model:
        answered_by(model, tmp_path, RUNS, gap_s=0.01)
        part = found()
        plan = Plan(speed=1.0)
        with Lanes([version(model)], "recorded", 1) as wire:
            stopped = replay_paced(Captured(tmp_path), wire, plan, part, in_runs=True, stop=lambda: bool(wire.sent > 5))
        assert not stopped
        assert 0 < part.units < len(RUNS)
        rest = Found.restored(unpack(pack(part.state())), Counting.from_state)
        with Lanes([version(model)], "recorded", 1) as wire:
            assert replay_paced(Captured(tmp_path), wire, plan, rest, in_runs=True)

    assert sorted(counted(rest).ids) == sorted(
        f"r{run}-{at}" for run, rows in enumerate(RUNS) for at in range(len(rows))
    )


def test_what_a_version_does_not_take_is_known_before(tmp_path: Path) -> None:
    with loaded(models.classifier()) as model, loaded(models.classifier(features=5)) as wide:
        answered_by(model, tmp_path, [[1]])
        (batch,) = Captured(tmp_path).batches()

        assert misfits(model.signature, batch) == []
        assert misfits(wide.signature, batch) == ["input 'x' is [-1, 5], and was [-1, 4]"]
    with loaded(models.two_inputs()) as other:
        assert any("not in the capture" in problem for problem in misfits(other.signature, batch))
