"""Where a version comes from and what was made of it: parents recorded by ``register --parent``, followed both ways.

fraud:1 ◄─parent─ fraud:2 ◄─parent─ fraud:3        ancestors of fraud:2: fraud:1; descendants: fraud:3
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from mlserve.core.evidence import Evidence
from mlserve.core.refs import ModelRef
from mlserve.registry.evidencing import read_evidence
from mlserve.registry.reading import whole_versions
from mlserve.registry.records import Version
from mlserve.registry.resolving import version_row
from mlserve.registry.schema import model_versions
from mlserve.registry.store import Store

MADE: Mapping[str, Sequence[str]] = {
    "provenance": ("framework", "tools", "quantize", "composed_of"),
    "parity": ("framework", "max_abs", "max_rel", "rows", "rows_over"),
    "quantization": ("method", "parent", "size_ratio", "speedup", "forced"),
    "accuracy": ("name", "before", "after", "drop", "interval", "max_drop"),
}
"""The evidence that tells how a version was made, and which of its figures belong to its lineage."""

_TOLD = ("ref", "parent", "digest", "stages", "state", "commit", "dirty", "data_uri", "data_digest", "note")


@dataclass(frozen=True, slots=True)
class Member:
    """One version of a lineage; ``made`` has the figures of each kind of ``MADE`` that is known of it."""

    version: Version
    made: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        whole = self.version.to_dict()
        told = {name: whole[name] for name in (*_TOLD, "created_at", "created_by")}
        return told | {"made": {kind: dict(figures) for kind, figures in self.made.items()}}


@dataclass(frozen=True, slots=True)
class Lineage:
    """A version, its ``ancestors`` nearest first, and its ``descendants``, each after its parent, older ones first."""

    member: Member
    ancestors: Sequence[Member]
    descendants: Sequence[Member]

    def to_dict(self) -> dict[str, Any]:
        return self.member.to_dict() | {
            "ancestors": [member.to_dict() for member in self.ancestors],
            "descendants": [member.to_dict() for member in self.descendants],
        }


def lineage(store: Store, ref: ModelRef) -> Lineage:
    """The ancestors and descendants of the version that ``ref`` names, of whatever model. Raises NotFound, Unavailable.

    What somebody registered as its own ancestor is followed once.
    """
    with store.reading() as connection:
        row = version_row(connection, ref)
        above = _above(connection, row.id, row.parent_id)
        below = _below(connection, row.id)
        ids = [row.id, *above, *(one for one in below if one not in above)]
        rows = {one.id: one for one in connection.execute(select(model_versions).where(model_versions.c.id.in_(ids)))}
        versions = whole_versions(connection, [rows[one] for one in ids])
        members = [Member(version, _made(read_evidence(connection, version.digest))) for version in versions]
    split = 1 + len(above)
    return Lineage(members[0], members[1:split], members[split:])


def _above(connection: Connection, version_id: int, parent_id: int | None) -> list[int]:
    found: list[int] = []
    while parent_id is not None and parent_id != version_id and parent_id not in found:
        found.append(parent_id)
        query = select(model_versions.c.parent_id).where(model_versions.c.id == parent_id)
        parent_id = connection.execute(query).scalar_one()
    return found


def _below(connection: Connection, version_id: int) -> list[int]:
    """Descendants depth first: a generation a query, then put in the order of a tree."""
    children: dict[int, list[int]] = defaultdict(list)
    known, generation = {version_id}, [version_id]
    while generation:
        query = (
            select(model_versions.c.id, model_versions.c.parent_id)
            .where(model_versions.c.parent_id.in_(generation))
            .order_by(model_versions.c.id)
        )
        generation = []
        for row in connection.execute(query):
            if row.id not in known:
                known.add(row.id)
                generation.append(row.id)
                children[row.parent_id].append(row.id)
    found, left = [], children[version_id][::-1]
    while left:
        at = left.pop()
        found.append(at)
        left += children[at][::-1]
    return found


def _made(evidence: Sequence[Evidence]) -> dict[str, dict[str, Any]]:
    """The newest measurement of each kind: ``evidence`` comes newest first."""
    made: dict[str, dict[str, Any]] = {}
    for item in evidence:
        if item.kind in MADE and item.kind not in made:
            made[item.kind] = {name: item.figures[name] for name in MADE[item.kind] if name in item.figures}
    return {kind: made[kind] for kind in MADE if kind in made}
