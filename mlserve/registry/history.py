"""Who moved what, when and why."""

from __future__ import annotations

from sqlalchemy import select

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
