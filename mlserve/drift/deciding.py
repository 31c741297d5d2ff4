"""What is to be done after a check: its document, what was done before, and the time make a list of decisions. Pure.

verdict ──on_warn, on_critical, …──▶ wanted ──▶ debounce ──▶ quiet hours ──▶ at most one rollback a day ──▶ due
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from mlserve.core.durations import length_of
from mlserve.core.evidence import isoformat
from mlserve.core.settings import DriftAction, DriftSettings
from mlserve.drift.quiet import QuietHours, parse_quiet_hours
from mlserve.errors import InvalidConfig
from mlserve.registry.drift_actions import ActionRecord

ROLLBACK_EVERY = timedelta(hours=24)
"""One that rolls back again and again walks through all of a model's past without anybody looking."""
ORDER: tuple[DriftAction, ...] = ("freeze", "rollback", "webhook", "command")
"""Users are helped first, people told then; what takes an hour is last."""


@dataclass(frozen=True, slots=True)
class Reactions:
    """What follows a verdict, how often, and when not."""

    on: Mapping[str, tuple[DriftAction, ...]]
    debounce: timedelta = timedelta(hours=24)
    quiet: QuietHours | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``due`` is done now, ``waiting`` after the quiet hours; ``debounced`` was done, ``refused`` must not be."""

    action: DriftAction
    state: Literal["due", "waiting", "debounced", "refused"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A check's verdict, and because of what: names of features, and of other things that are watched."""

    verdict: str
    subjects: tuple[str, ...] = field(default=())


def reactions_of(settings: DriftSettings) -> Reactions:
    """The reactions that ``[drift]`` sets. Raises InvalidConfig, also for an action that lacks what it needs."""
    on: dict[str, tuple[DriftAction, ...]] = {
        "warn": settings.on_warn,
        "critical": settings.on_critical,
        "performance": settings.on_performance,
        "stale": settings.on_stale,
    }
    wanted = {action for actions in on.values() for action in actions}
    if "webhook" in wanted and not (settings.webhooks and settings.webhook_secret_file):
        raise InvalidConfig(
            "a webhook is wanted, and drift.webhooks or drift.webhook_secret_file is not set",
            hint='webhooks = ["https://…"] and webhook_secret_file = "FILE" under [drift]',
        )
    if "command" in wanted and not settings.command:
        raise InvalidConfig(
            "a command is wanted, and drift.command is not set", hint='command = ["python", "retrain.py"] under [drift]'
        )
    if {"rollback", "freeze"} & set(settings.on_stale):
        raise InvalidConfig("no data is no reason to move a version", hint="on_stale takes webhook and command")
    quiet = parse_quiet_hours(settings.quiet_hours, settings.quiet_zone)
    return Reactions(on, length_of(settings.debounce, "drift.debounce"), quiet)


def alarm_of(document: Mapping[str, Any]) -> Alarm:
    """The verdict of a check's document with the names of all that drifts.

    >>> alarm_of({"verdict": "warn", "features": [{"name": "age", "drift": True}, {"name": "plan", "drift": False}]})
    Alarm(verdict='warn', subjects=('age',))
    """
    subjects = {
        str(item.get("name") or item.get("test"))
        for part in ("quality", "features", "multivariate", "embedding")
        for item in document.get(part) or ()
        if item.get("drift")
    }
    subjects |= {part for part in ("prediction", "performance") if (document.get(part) or {}).get("drift")}
    return Alarm(str(document["verdict"]), tuple(sorted(subjects)))


def decide(
    reactions: Reactions,
    alarm: Alarm,
    past: Sequence[ActionRecord],
    *,
    now: datetime,
    run: str | None = None,
    rolled_back_at: datetime | None = None,
) -> list[Decision]:
    """What follows ``alarm``, in the order that it is to be done; nothing for a verdict without reactions.

    ``past`` is what was done about this version, ``rolled_back_at`` when drift last rolled the model back. Only what
    was done counts: an action that failed, or whose process ended half-way, is due again. What was done after this very
    ``run`` (its key) is never done again, however long ago.
    """
    wanted = reactions.on.get(alarm.verdict, ())
    since = now - reactions.debounce
    known = [one for one in past if one.state == "done" and (one.at > since or (run is not None and one.run == run))]
    return [_decide(reactions, action, alarm, known, now, rolled_back_at) for action in ORDER if action in wanted]


def _decide(
    reactions: Reactions,
    action: DriftAction,
    alarm: Alarm,
    done: Sequence[ActionRecord],
    now: datetime,
    rolled_back_at: datetime | None,
) -> Decision:
    known = [one for one in done if one.action == action and _covers(one.verdict, alarm.verdict)]
    if known and set(alarm.subjects) <= _all(one.subjects for one in known):
        return Decision(action, "debounced", f"done at {isoformat(max(one.at for one in known))} for the same")
    if reactions.quiet is not None and alarm.verdict != "critical" and reactions.quiet.cover(now):
        return Decision(action, "waiting", f"quiet hours until {isoformat(reactions.quiet.over_at(now))}")
    if action == "rollback" and rolled_back_at is not None and now - rolled_back_at < ROLLBACK_EVERY:
        return Decision(action, "refused", f"drift rolled back at {isoformat(rolled_back_at)}, and does once in 24 h")
    return Decision(action, "due")


def _covers(before: str, now: str) -> bool:
    """Whether who acted on ``before`` knew as bad as ``now`` is."""
    return before == now or (before, now) == ("critical", "warn")


def _all(subjects: Iterable[tuple[str, ...]]) -> set[str]:
    return {name for one in subjects for name in one}
