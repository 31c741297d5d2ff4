"""Evidence in the registry: every record is kept, and the newest of each identity is what counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.core.evidence import Evidence
from mlserve.registry.schema import evidence as table
from mlserve.registry.store import Store, add_to_epoch, insert_missing


def add_evidence(store: Store, *items: Evidence) -> None:
    """Record measurements; one that is recorded already is left as it is. Raises InvalidInput, Unavailable.

    A figure that is not finite is kept as text (``"NaN"``, ``"Infinity"``), so no bound of a gate can be met by it.
    """

    def work(connection: Connection) -> None:
        if record(connection, items):
            add_to_epoch(connection)

    store.write(work)


def evidence_of(store: Store, digest: str) -> list[Evidence]:
    """What is known of the model with this digest, newest first: one record per identity and origin."""
    with store.reading() as connection:
        return read_evidence(connection, digest)


def record(connection: Connection, items: Iterable[Evidence]) -> int:
    """Add records on an open connection and return how many were new."""
    return sum(_add(connection, item) for item in items)


def read_evidence(connection: Connection, digest: str) -> list[Evidence]:
    """As ``evidence_of``, on an open connection."""
    newest_first = select(table).where(table.c.digest == digest).order_by(table.c.measured_at.desc(), table.c.id.desc())
    kept: dict[bytes, Evidence] = {}
    for row in connection.execute(newest_first):
        identity = canonical_json([row.kind, row.data_digest, row.tools, row.origin])
        kept.setdefault(identity, _as_evidence(row))
    return list(kept.values())


def _add(connection: Connection, item: Evidence) -> int:
    fields = item.to_dict() | {"figures": _finite(dict(item.figures))}
    row = {
        "record_digest": digest_bytes(canonical_json(fields)),
        "digest": item.digest,
        "kind": item.kind,
        "passed": item.passed,
        "figures": fields["figures"],
        "data_digest": item.data_digest,
        "tools": fields["tools"],
        "origin": item.origin,
        "measured_at": item.measured_at,
        "measured_by": item.measured_by,
    }
    return insert_missing(connection, table, row)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _as_evidence(row: Row[Any]) -> Evidence:
    return Evidence(
        kind=row.kind,
        digest=row.digest,
        passed=row.passed,
        figures=row.figures,
        measured_at=row.measured_at,
        measured_by=row.measured_by,
        data_digest=row.data_digest,
        tools=row.tools,
        origin=row.origin,
    )
