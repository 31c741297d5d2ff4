"""One stage of one model as a row: who holds it, its generation, and the one statement that ever changes either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from mlserve.core.refs import Stage
from mlserve.errors import Conflict
from mlserve.registry.records import Action, Gate
from mlserve.registry.schema import stage_history, stages
from mlserve.registry.store import insert_missing


@dataclass(frozen=True, slots=True)
class Seat:
    """What stood in a stage when it was read; ``generation`` 0 and no holder where nothing ever did."""

    model_id: int
    stage: Stage
    version_id: int | None
    generation: int
    traffic: float | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A change of holder, and all that history keeps of it."""

    action: Action
    version_id: int | None
    by: str
    at: datetime
    reason: str | None
    gates: Sequence[Gate] = ()
    forced: bool = False
    traffic: float | None = None
    policy_revision: int | None = None


def read_seat(connection: Connection, model_id: int, stage: Stage) -> Seat:
    """The seat as it is now, for judging only: others may change it at any moment."""
    return _read(connection, model_id, stage, lock=False) or Seat(model_id, stage, None, 0, None)


def take_seat(connection: Connection, model_id: int, stage: Stage, now: datetime) -> Seat:
    """The seat, which no other transaction changes until this one ends."""
    seat = _read(connection, model_id, stage, lock=True)
    if seat is None:
        fresh = {"model_id": model_id, "stage": stage.value, "generation": 0, "updated_at": now}
        insert_missing(connection, stages, fresh)
        seat = _read(connection, model_id, stage, lock=True)
    assert seat is not None
    return seat


def transfer_seat(connection: Connection, seat: Seat, transfer: Transfer) -> int:
    """Let ``transfer.version_id`` hold the seat and return the new generation.

    A compare-and-set: raises Conflict when the generation is no longer ``seat.generation``, whatever locks were taken.
    """
    generation = seat.generation + 1
    swap = (
        update(stages)
        .where(stages.c.model_id == seat.model_id, stages.c.stage == seat.stage.value)
        .where(stages.c.generation == seat.generation)
        .values(
            version_id=transfer.version_id,
            generation=generation,
            traffic=transfer.traffic,
            updated_at=transfer.at,
        )
    )
    if connection.execute(swap).rowcount != 1:
        raise Conflict(f"somebody else changed {seat.stage} first", hint="look at its history and try again")
    row = {
        "model_id": seat.model_id,
        "stage": seat.stage.value,
        "generation": generation,
        "action": transfer.action,
        "version_id": transfer.version_id,
        "previous_version_id": seat.version_id,
        "traffic": transfer.traffic,
        "forced": transfer.forced,
        "reason": transfer.reason,
        "gates": [gate.to_dict() for gate in transfer.gates],
        "policy_revision": transfer.policy_revision,
        "actor": transfer.by,
        "at": transfer.at,
    }
    connection.execute(insert(stage_history).values(row))
    return generation


def _read(connection: Connection, model_id: int, stage: Stage, *, lock: bool) -> Seat | None:
    query = select(stages).where(stages.c.model_id == model_id, stages.c.stage == stage.value)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return Seat(model_id, stage, row.version_id, row.generation, row.traffic) if row is not None else None
