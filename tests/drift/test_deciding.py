"""What follows a check, over days of virtual time: once for the same, not at night, never a rollback after another."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mlserve.core.settings import DriftAction, DriftSettings
from mlserve.drift.deciding import Alarm, Reactions, alarm_of, decide, reactions_of
from mlserve.drift.quiet import parse_quiet_hours
from mlserve.errors import InvalidConfig
from mlserve.registry.drift_actions import ActionRecord, State
from tests.registry.making import at

HOUR = 60
ALL: dict[str, tuple[DriftAction, ...]] = {
    "warn": ("webhook",),
    "critical": ("webhook", "rollback", "freeze"),
    "performance": ("command", "webhook"),
    "stale": ("webhook",),
}
NIGHT = parse_quiet_hours("22:00-07:00")


def past(
    action: str = "webhook",
    verdict: str = "warn",
    subjects: tuple[str, ...] = ("age",),
    hours: float = 0,
    state: State = "done",
) -> ActionRecord:
    return ActionRecord(action, state, "sha256:run", verdict, subjects, at(hours * HOUR))


def states(
    alarm: Alarm,
    *records: ActionRecord,
    hours: float = 0,
    quiet: bool = False,
    rolled_back_at: datetime | None = None,
) -> dict[str, str]:
    """Each action and its state, ``hours`` after noon."""
    reactions = Reactions(ALL, timedelta(hours=24), NIGHT if quiet else None)
    found = decide(reactions, alarm, records, now=at(hours * HOUR), rolled_back_at=rolled_back_at)
    return {one.action: one.state for one in found}


def test_each_verdict_has_its_actions_in_the_order_that_helps_users_first() -> None:
    assert list(states(Alarm("critical", ("age",)))) == ["freeze", "rollback", "webhook"]
    assert list(states(Alarm("performance", ("performance",)))) == ["webhook", "command"]
    assert states(Alarm("ok")) == states(Alarm("insufficient")) == {}


@pytest.mark.parametrize(
    ("alarm", "record", "hours", "state"),
    [
        pytest.param(Alarm("warn", ("age",)), past(), 23.9, "debounced", id="the same within a day"),
        pytest.param(Alarm("warn", ("age",)), past(), 24, "due", id="the same a day later"),
        pytest.param(Alarm("warn", ("age", "plan")), past(), 1, "due", id="one feature more"),
        pytest.param(Alarm("warn", ("age",)), past(subjects=("age", "plan")), 1, "debounced", id="one feature less"),
        pytest.param(Alarm("critical", ("age",)), past(), 1, "due", id="worse than before"),
        pytest.param(Alarm("warn", ("age",)), past(verdict="critical"), 1, "debounced", id="better than before"),
        pytest.param(Alarm("warn", ("age",)), past("command"), 1, "due", id="another action was done"),
        pytest.param(Alarm("warn", ("age",)), past(state="failed"), 1, "due", id="it failed"),
        pytest.param(Alarm("warn", ("age",)), past(state="begun"), 1, "due", id="its process was killed"),
        pytest.param(Alarm("warn", ("age",)), past(state="waiting"), 1, "due", id="it waited"),
        pytest.param(Alarm("stale"), past(verdict="stale", subjects=()), 1, "debounced", id="no subjects, the same"),
        pytest.param(Alarm("stale"), past(), 1, "due", id="no subjects, another verdict"),
    ],
)
def test_the_same_is_acted_on_once_in_a_day(alarm: Alarm, record: ActionRecord, hours: float, state: str) -> None:
    assert states(alarm, record, hours=hours)["webhook"] == state


def test_what_was_done_after_a_run_is_not_done_after_it_again() -> None:
    reactions, alarm = Reactions(ALL, timedelta(hours=1)), Alarm("warn", ("age",))

    def state(run: str) -> str:
        return decide(reactions, alarm, [past()], now=at(100 * HOUR), run=run)[0].state

    assert [state("sha256:run"), state("sha256:other")] == ["debounced", "due"]


def test_two_alarms_of_a_day_cover_what_both_were_about() -> None:
    records = (past(subjects=("age",)), past(subjects=("plan",), hours=2))

    assert states(Alarm("warn", ("age", "plan")), *records, hours=3) == {"webhook": "debounced"}
    assert states(Alarm("warn", ("age", "plan")), *records, hours=25) == {"webhook": "due"}


@pytest.mark.parametrize(
    ("verdict", "hours", "state"),
    [
        pytest.param("warn", 9.9, "due", id="before 22:00"),
        pytest.param("warn", 10, "waiting", id="at 22:00"),
        pytest.param("performance", 12, "waiting", id="a drop in quality waits for people"),
        pytest.param("stale", 18.9, "waiting", id="until 07:00"),
        pytest.param("warn", 19, "due", id="at 07:00"),
        pytest.param("critical", 12, "due", id="what is critical does not wait"),
    ],
)
def test_quiet_hours_hold_back_all_but_what_is_critical(verdict: str, hours: float, state: str) -> None:
    assert states(Alarm(verdict, ("age",)), hours=hours, quiet=True)["webhook"] == state


def test_what_was_done_already_does_not_wait() -> None:
    assert states(Alarm("warn", ("age",)), past(), hours=12, quiet=True) == {"webhook": "debounced"}


def test_drift_rolls_back_once_in_a_day() -> None:
    alarm = Alarm("critical", ("plan",))

    assert states(alarm, hours=23, rolled_back_at=at(0))["rollback"] == "refused"
    assert states(alarm, hours=24, rolled_back_at=at(0))["rollback"] == "due"


def test_a_month_of_nightly_alarms_about_the_same_is_one_message_a_day_and_none_at_night() -> None:
    reactions = Reactions(ALL, timedelta(hours=20), NIGHT)
    records: list[ActionRecord] = []
    for hour in range(24 * 30):
        now = at(hour * HOUR)
        for one in decide(reactions, Alarm("warn", ("age",)), records, now=now):
            if one.state == "due":
                records.append(past(hours=hour))

    assert len(records) == len({one.at.date() for one in records}) == 31
    assert all(7 <= one.at.hour < 22 for one in records)


def test_an_alarm_names_all_that_drifts() -> None:
    document = {
        "verdict": "critical",
        "quality": [{"name": "plan", "test": "nulls", "drift": True}, {"name": None, "test": "rows", "drift": True}],
        "features": [{"name": "age", "drift": True}, {"name": "visits", "drift": False}],
        "multivariate": [{"test": "mmd", "drift": True}],
        "prediction": {"output": "p", "drift": True},
        "performance": None,
    }

    assert alarm_of(document) == Alarm("critical", ("age", "mmd", "plan", "prediction", "rows"))


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        pytest.param(DriftSettings(on_warn=("webhook",)), "a webhook is wanted", id="nobody to tell"),
        pytest.param(
            DriftSettings(on_warn=("webhook",), webhooks=("https://x",)), "webhook_secret_file", id="no secret"
        ),
        pytest.param(DriftSettings(on_critical=("command",)), "a command is wanted", id="no command"),
        pytest.param(DriftSettings(on_stale=("rollback",)), "no data is no reason", id="nothing came"),
        pytest.param(DriftSettings(debounce="soon"), "is not a time", id="no time"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_an_error(settings: DriftSettings, fact: str) -> None:
    with pytest.raises(InvalidConfig, match=fact):
        reactions_of(settings)


def test_without_settings_nothing_follows() -> None:
    assert decide(reactions_of(DriftSettings()), Alarm("critical", ("age",)), [], now=at(0)) == []
