"""What was decided is done, one action after the other, each step kept before the next is begun.

decide ──▶ waiting, debounced, refused: told
       ──▶ due: record "begun" ──▶ act ──▶ record "done", "failed" or "refused"

A process that ends in between leaves "begun", and the action is due again; webhooks carry the same id then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlserve.core.settings import DriftAction
from mlserve.drift.actions import command, freeze, rollback, webhook
from mlserve.drift.actions.occasion import BY, Effect, Occasion
from mlserve.drift.deciding import Decision, decide, reactions_of
from mlserve.errors import MlserveError
from mlserve.registry.drift_actions import ActionRecord, State, actions_of, record_action
from mlserve.registry.history import history

Act = Callable[[Occasion], Effect]

ACTIONS: Mapping[DriftAction, Act] = {
    "webhook": webhook.act,
    "command": command.act,
    "rollback": rollback.act,
    "freeze": freeze.act,
}


def act_on(
    occasion: Occasion, *, require: Callable[[], None] = lambda: None, actions: Mapping[DriftAction, Act] = ACTIONS
) -> list[dict[str, Any]]:
    """What follows the run of ``occasion``, done now as far as it is due; the ``actions`` of the check's document.

    ``require`` is asked before each action, and raises where this process may not act any more (``Turn.require``).
    An action that fails is told and keeps no other from being done. Raises InvalidConfig for a policy that cannot be
    used, Unavailable, Conflict where the turn was lost.
    """
    now = occasion.clock()
    past = actions_of(occasion.store, occasion.digest, since=None)
    moves = [one.at for one in history(occasion.store, occasion.model) if (one.action, one.by) == ("rollback", BY)]
    decisions = decide(
        reactions_of(occasion.settings),
        occasion.alarm,
        past,
        now=now,
        run=occasion.key,
        rolled_back_at=max(moves, default=None),
    )
    told: list[dict[str, Any]] = []
    for decision in decisions:
        if decision.state != "due":
            _keep_once(occasion, decision, past)
            told.append({"action": decision.action, "state": decision.state, "detail": decision.detail})
            continue
        require()
        _record(occasion, decision.action, "begun", "", {})
        effect = _done(actions[decision.action], occasion)
        _record(occasion, decision.action, effect.state, effect.detail, effect.figures)
        told.append({"action": decision.action, "state": effect.state, "detail": effect.detail, **effect.figures})
    return told


def actions_after(occasion_key: str, past: Sequence[ActionRecord]) -> list[dict[str, Any]]:
    """What was done after the run with this key, the last step of each action, oldest first."""
    last: dict[str, ActionRecord] = {}
    for one in past:  # newest first
        if one.run == occasion_key:
            last.setdefault(one.action, one)
    return [
        {"action": one.action, "state": one.state, "detail": one.detail, **one.figures}
        for one in reversed(last.values())
    ]


def _done(act: Act, occasion: Occasion) -> Effect:
    try:
        return act(occasion)
    except MlserveError as error:
        return Effect("failed", error.message)


def _keep_once(occasion: Occasion, decision: Decision, past: Sequence[ActionRecord]) -> None:
    """That an action waits, or must not be, is kept once a run; that it was done before is known already."""
    if decision.state == "debounced":
        return
    state: State = "waiting" if decision.state == "waiting" else "refused"
    if not any((one.run, one.action, one.state) == (occasion.key, decision.action, state) for one in past):
        _record(occasion, decision.action, state, decision.detail, {})


def _record(occasion: Occasion, action: DriftAction, state: State, detail: str, figures: Mapping[str, Any]) -> None:
    alarm = occasion.alarm
    record = ActionRecord(
        action, state, occasion.key, alarm.verdict, alarm.subjects, occasion.clock(), detail, dict(figures)
    )
    record_action(occasion.store, occasion.digest, occasion.window_digest, record, by=BY)
