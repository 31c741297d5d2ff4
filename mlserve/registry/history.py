"""Who moved what, when and why, and what stood where at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from mlserve.core.refs import Stage
from mlserve.registry.reading import refs_of
from mlserve.registry.records import HistoryEntry
from mlserve.registry.resolving import model_row
from mlserve.registry.schema import stage_history
from mlserve.registry.store import Store


def history(store: Store, name: str, limit: int | None = None) -> list[HistoryEntry]:
    """Every move of every stage of the model ``name``, newest first. Raises NotFound, Unavailable."""
    with store.reading() as connection:
        model_id = model_row(connection, name).id
        moves = select(stage_history).where(stage_history.c.model_id == model_id)
        rows = connection.execute(moves.order_by(stage_history.c.id.desc()).limit(limit)).all()
        return _entries(connection, name, rows)


def stood_at(store: Store, name: str, at: datetime) -> list[HistoryEntry]:
    """For each stage of the model ``name`` that was not empty at ``at``, the move by which its version stood there.

    In the order of ``Stage``. Raises NotFound, Unavailable.
    """
    with store.reading() as connection:
        model_id = model_row(connection, name).id
        newest = (
            select(func.max(stage_history.c.id))
            .where(stage_history.c.model_id == model_id, stage_history.c.at <= at)
            .group_by(stage_history.c.stage)
        )
        rows = connection.execute(select(stage_history).where(stage_history.c.id.in_(newest))).all()
        entries = _entries(connection, name, rows)
    stages = list(Stage)
    return sorted((entry for entry in entries if entry.ref is not None), key=lambda entry: stages.index(entry.stage))


def _entries(connection: Connection, name: str, rows: Sequence[Row[Any]]) -> list[HistoryEntry]:
    refs = refs_of(connection, [key for row in rows for key in (row.version_id, row.previous_version_id)])
    return [
        HistoryEntry(
            name=name,
            stage=Stage(row.stage),
            generation=row.generation,
            action=row.action,
            ref=refs.get(row.version_id),
            previous=refs.get(row.previous_version_id),
            traffic=row.traffic,
            forced=row.forced,
            reason=row.reason,
            by=row.actor,
            at=row.at,
            gates=row.gates,
        )
        for row in rows
    ]
