"""What drift checks did about what they found: a record of evidence an action, beside the run that it followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select

from mlserve.core.evidence import Evidence
from mlserve.registry.evidencing import add_evidence
from mlserve.registry.schema import evidence as table
from mlserve.registry.store import Store

KIND = "drift_action"

State = Literal["begun", "done", "failed", "waiting", "refused"]
"""``begun`` alone is an action whose process ended before it could say more; ``refused`` one that must not be now."""


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One step of one action: after which run (its key) and verdict, because of which features."""

    action: str
    state: State
    run: str
    verdict: str
    subjects: tuple[str, ...]
    at: datetime
    detail: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def record_action(store: Store, digest: str, window_digest: str | None, done: ActionRecord, *, by: str) -> None:
    """Keep ``done``, about the model with this digest. Raises Unavailable."""
    figures = {
        "action": done.action,
        "state": done.state,
        "run": done.run,
        "verdict": done.verdict,
        "subjects": list(done.subjects),
        "detail": done.detail,
        **done.figures,
    }
    passed = {"done": True, "failed": False}.get(done.state)
    add_evidence(store, Evidence(KIND, digest, passed, figures, done.at, by, window_digest))


def actions_of(store: Store, digest: str, *, since: datetime | None = None) -> list[ActionRecord]:
    """What was done about the model with this digest, newest first. Raises Unavailable."""
    about = (table.c.digest == digest) & (table.c.kind == KIND)
    if since is not None:
        about &= table.c.measured_at >= since
    with store.reading() as connection:
        rows = connection.execute(select(table).where(about).order_by(table.c.id.desc())).all()
    return [_as_record(row.figures, row.measured_at) for row in rows]


def _as_record(figures: Mapping[str, Any], at: datetime) -> ActionRecord:
    own = ("action", "state", "run", "verdict", "subjects", "detail")
    rest = {name: value for name, value in figures.items() if name not in own}
    return ActionRecord(
        figures["action"],
        figures["state"],
        figures["run"],
        figures["verdict"],
        tuple(figures["subjects"]),
        at,
        figures["detail"],
        rest,
    )
