"""Promotions to production that are held up since a drift check alarmed, until somebody lifts it or forces one.

Each freeze and each thaw is a record of evidence whose subject is the model's name, so that who did it, when and why
stays; the last one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from mlserve.core.digests import digest_bytes
from mlserve.core.evidence import Evidence, isoformat
from mlserve.registry.evidencing import record
from mlserve.registry.labels import checked_text
from mlserve.registry.records import Gate
from mlserve.registry.resolving import lock_model, model_row
from mlserve.registry.schema import evidence as table
from mlserve.registry.store import Store, add_to_epoch

KIND = "drift_freeze"
GATE = "drift freeze"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Whether promotions of ``name`` to production are held up, and who said so last; ``changed`` by this call."""

    name: str
    frozen: bool
    reason: str | None = None
    by: str | None = None
    at: datetime | None = None
    changed: bool = False

    def to_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "frozen": self.frozen,
            "reason": self.reason,
            "by": self.by,
            "at": None if self.at is None else isoformat(self.at),
            "changed": self.changed,
        }


def freeze(store: Store, name: str, *, reason: str, by: str, now: datetime) -> Freeze:
    """Hold up promotions of the model ``name`` to production. One that is held up stays so, for the first reason.

    Raises NotFound, InvalidInput, Unavailable.
    """
    return _set(store, name, True, reason, by, now)


def thaw(store: Store, name: str, *, reason: str | None, by: str, now: datetime) -> Freeze:
    """Let promotions of the model ``name`` to production go on. Raises NotFound, InvalidInput, Unavailable."""
    return _set(store, name, False, reason, by, now)


def freeze_of(store: Store, name: str) -> Freeze:
    """Whether the model ``name`` is frozen now. Raises NotFound, Unavailable."""
    with store.reading() as connection:
        model_row(connection, name)
        return read_freeze(connection, name)


def read_freeze(connection: Connection, name: str) -> Freeze:
    """As ``freeze_of``, on an open connection, of a model that is there."""
    # By the order of writing, under the model's lock: clocks of two hosts may differ.
    about = (table.c.digest == _subject(name)) & (table.c.kind == KIND)
    row = connection.execute(select(table).where(about).order_by(table.c.id.desc()).limit(1)).first()
    if row is None:
        return Freeze(name, False)
    said = row.figures
    return Freeze(name, said["frozen"], said["reason"], row.measured_by, row.measured_at)


def frozen_gate(held: Freeze) -> Gate:
    """The gate that a frozen model's way to production ends at."""
    since = isoformat(held.at) if held.at else "?"
    detail = f"frozen by {held.by} at {since}: {held.reason}; mlserve drift thaw {held.name}"
    return Gate(GATE, False, detail=detail)


def _set(store: Store, name: str, frozen: bool, reason: str | None, by: str, now: datetime) -> Freeze:
    said = checked_text("the reason", reason).strip() or None if reason is not None else None

    def work(connection: Connection) -> Freeze:
        lock_model(connection, name)
        present = read_freeze(connection, name)
        if present.frozen == frozen:
            return present
        figures = {"model": name, "frozen": frozen, "reason": said}
        record(connection, [Evidence(KIND, _subject(name), not frozen, figures, now, by)])
        add_to_epoch(connection)
        return Freeze(name, frozen, said, by, now, changed=True)

    return store.write(work)


def _subject(name: str) -> str:
    """Evidence is about a digest; of a model as a whole it is that of its name."""
    return digest_bytes(f"model {name}".encode())
