"""Decisions become effects, each step of them kept; nothing is done twice, and one failure stops nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from mlserve.core.refs import Stage
from mlserve.core.settings import DriftAction, DriftSettings
from mlserve.drift.actions.acting import ACTIONS, Act, act_on, actions_after
from mlserve.drift.actions.occasion import Effect, Occasion
from mlserve.drift.deciding import Alarm
from mlserve.errors import Conflict, InvalidInput
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.drift_actions import actions_of
from mlserve.registry.freezing import freeze_of
from mlserve.registry.history import history
from mlserve.registry.store import Store
from tests.drift.actions.making import DIGEST, DOCUMENT, Time, occasion
from tests.registry.making import add_versions, at, move

SETTINGS = DriftSettings(on_critical=("freeze", "rollback", "command"), on_warn=("command",), command=("train",))


class Faked:
    """Actions that only note that they were asked."""

    def __init__(self, effect: Effect | Exception | None = None) -> None:
        self.effect = effect or Effect("done", "trained")
        self.asked: list[Alarm] = []

    def __call__(self, occasion: Occasion) -> Effect:
        self.asked.append(occasion.alarm)
        if isinstance(self.effect, Exception):
            raise self.effect
        return self.effect

    @property
    def table(self) -> Mapping[DriftAction, Act]:
        return {**ACTIONS, "command": self}


@pytest.fixture
def served(store: Store, artefacts: ArtefactStore) -> Store:
    """``fraud:3`` is in production, after 1 and 2."""
    add_versions(store, artefacts, 4)
    for number in (1, 2, 3):
        move(store, f"fraud:{number}", now=at(-10 + number))
    return store


def states(told: list[dict[str, object]]) -> dict[object, object]:
    return {one["action"]: one["state"] for one in told}


def test_a_critical_check_freezes_rolls_back_and_trains(served: Store, tmp_path: Path) -> None:
    told = act_on(occasion(served, tmp_path, SETTINGS, ref="fraud:3"), actions=Faked().table)

    assert states(told) == {"freeze": "done", "rollback": "done", "command": "done"}
    newest = history(served, "fraud")[0]
    assert (newest.action, newest.ref, newest.by) == ("rollback", "fraud:2", "drift")
    assert newest.reason is not None
    assert newest.reason.startswith("drift check of fraud:3: critical of age (run ")
    assert freeze_of(served, "fraud").frozen
    assert move(served, "fraud:4").allowed is False
    assert move(served, "fraud:4", Stage.STAGING).changed
    steps = [(one.action, one.state) for one in reversed(actions_of(served, DIGEST))]
    assert steps == [(name, state) for name in ("freeze", "rollback", "command") for state in ("begun", "done")]


def test_the_same_run_again_does_nothing_twice(served: Store, tmp_path: Path) -> None:
    command = Faked()
    first = occasion(served, tmp_path, SETTINGS, ref="fraud:3")
    done = act_on(first, actions=command.table)

    again = act_on(first, actions=command.table)

    assert states(again) == {"freeze": "debounced", "rollback": "debounced", "command": "debounced"}
    assert len(command.asked) == 1
    assert actions_after(first.key, actions_of(served, DIGEST)) == done


def test_a_failure_is_told_kept_and_tried_again_at_the_next_check(served: Store, tmp_path: Path) -> None:
    broken = Faked(InvalidInput("the disk is full"))

    told = act_on(occasion(served, tmp_path, SETTINGS, ref="fraud:3"), actions=broken.table)
    again = act_on(occasion(served, tmp_path, SETTINGS, ref="fraud:3"), actions=Faked().table)

    assert told[-1] == {"action": "command", "state": "failed", "detail": "the disk is full"}
    assert states(again)["command"] == "done"


def test_a_process_that_was_killed_in_between_leaves_the_action_due(served: Store, tmp_path: Path) -> None:
    warn = {**DOCUMENT, "verdict": "warn"}
    with pytest.raises(KeyboardInterrupt):
        act_on(occasion(served, tmp_path, SETTINGS, document=warn), actions={**ACTIONS, "command": _killed})
    assert [one.state for one in actions_of(served, DIGEST)] == ["begun"]

    told = act_on(occasion(served, tmp_path, SETTINGS, document=warn), actions=Faked().table)

    assert states(told) == {"command": "done"}


def _killed(occasion: Occasion) -> Effect:
    raise KeyboardInterrupt


def test_what_waits_for_the_morning_is_done_then(served: Store, tmp_path: Path) -> None:
    quiet = DriftSettings(on_warn=("command",), command=("train",), quiet_hours="11:00-14:00")
    time, command = Time(), Faked()
    warn = occasion(served, tmp_path, quiet, time=time, document={**DOCUMENT, "verdict": "warn"})

    waiting = [act_on(warn, actions=command.table) for _ in range(2)]
    time.now += timedelta(hours=2)
    done = act_on(warn, actions=command.table)

    assert [states(told) for told in (*waiting, done)] == [{"command": "waiting"}] * 2 + [{"command": "done"}]
    assert waiting[0][0]["detail"] == "quiet hours until 2026-03-01T14:00:00Z"
    assert [one.state for one in reversed(actions_of(served, DIGEST))] == ["waiting", "begun", "done"]
    assert len(command.asked) == 1


def test_a_version_that_left_production_rolls_nothing_back(served: Store, tmp_path: Path) -> None:
    told = act_on(occasion(served, tmp_path, SETTINGS, ref="fraud:2"), actions=Faked().table)

    (rollback,) = [one for one in told if one["action"] == "rollback"]
    assert (rollback["state"], rollback["detail"]) == (
        "refused",
        "production of 'fraud' holds 'fraud:3', not 'fraud:2'",
    )
    assert history(served, "fraud")[0].action == "promote"


def test_drift_rolls_a_model_back_once_in_a_day_whatever_version_drifts(served: Store, tmp_path: Path) -> None:
    time = Time()

    def check(ref: str, subject: str) -> object:
        document = {**DOCUMENT, "features": [{"name": subject, "drift": True}]}
        seen = occasion(served, tmp_path, SETTINGS, ref=ref, time=time, document=document)
        return states(act_on(seen, actions=Faked().table))["rollback"]

    first = check("fraud:3", "age")
    time.now += timedelta(hours=23)
    second = check("fraud:2", "plan")
    time.now += timedelta(hours=1)
    third = check("fraud:2", "visits")

    assert [first, second, third] == ["done", "refused", "done"]
    assert [entry.ref for entry in history(served, "fraud")[:2]] == ["fraud:1", "fraud:2"]


def test_who_lost_the_turn_does_nothing(served: Store, tmp_path: Path) -> None:
    def lost() -> None:
        raise Conflict("the lease was lost")

    with pytest.raises(Conflict):
        act_on(occasion(served, tmp_path, SETTINGS, ref="fraud:3"), require=lost, actions=Faked().table)

    assert actions_of(served, DIGEST) == []
    assert freeze_of(served, "fraud").frozen is False
