"""From rows to whole ``Version`` values: a fixed number of queries for any number of versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from mlserve.core.digests import FileEntry
from mlserve.core.refs import Stage
from mlserve.core.tensors import Signature
from mlserve.registry.records import Version
from mlserve.registry.schema import (
    blobs,
    model_versions,
    models,
    stages,
    version_files,
    version_metrics,
    version_params,
    version_tags,
)

# SQLite takes 32,766 bound values in a statement, PostgreSQL 65,535.
_IDS_AT_ONCE = 1000


def whole_versions(connection: Connection, rows: Sequence[Row[Any]]) -> list[Version]:
    """The versions of these rows of ``model_versions``, in their order."""
    return [
        version
        for start in range(0, len(rows), _IDS_AT_ONCE)
        for version in _some_versions(connection, rows[start : start + _IDS_AT_ONCE])
    ]


def files_of(connection: Connection, version_ids: Sequence[int]) -> dict[int, list[FileEntry]]:
    """The files of each version, the graph first."""
    files: dict[int, list[FileEntry]] = defaultdict(list)
    query = (
        select(version_files, blobs.c.size_bytes)
        .join(blobs, blobs.c.digest == version_files.c.digest)
        .where(version_files.c.version_id.in_(version_ids))
        .order_by(version_files.c.version_id, version_files.c.position)
    )
    for row in connection.execute(query):
        files[row.version_id].append(FileEntry(row.path, row.digest, row.size_bytes))
    return files


def refs_of(connection: Connection, version_ids: Sequence[int | None]) -> dict[int, str]:
    """``NAME:VERSION`` of each version id; None among them is passed over."""
    wanted = sorted({key for key in version_ids if key is not None})
    refs: dict[int, str] = {}
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        query = (
            select(model_versions.c.id, models.c.name, model_versions.c.version)
            .join(models, models.c.id == model_versions.c.model_id)
            .where(model_versions.c.id.in_(wanted[start : start + _IDS_AT_ONCE]))
        )
        refs |= {row.id: f"{row.name}:{row.version}" for row in connection.execute(query)}
    return refs


def _some_versions(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Version]:
    ids = [row.id for row in rows]
    refs = refs_of(connection, [*ids, *(row.parent_id for row in rows)])
    files = files_of(connection, ids)
    metrics, params, tags = (
        _values_of(connection, table, ids) for table in (version_metrics, version_params, version_tags)
    )
    held = _stages_of(connection, ids)
    for row in rows:
        yield Version(
            ref=refs[row.id],
            name=refs[row.id].rpartition(":")[0],
            version=row.version,
            digest=row.digest,
            files=files[row.id],
            signature=Signature.from_dict(row.signature),
            metrics=metrics.get(row.id, {}),
            params=params.get(row.id, {}),
            tags=tags.get(row.id, {}),
            stages=[stage for stage in Stage if stage in held[row.id]],
            state=row.state,
            kind=row.kind,
            parent=refs.get(row.parent_id),
            commit=row.commit_sha,
            dirty=row.commit_dirty,
            data_uri=row.data_uri,
            data_digest=row.data_digest,
            golden=row.golden_digest,
            note=row.note,
            created_at=row.created_at,
            created_by=row.created_by,
        )


def _values_of(connection: Connection, table: Table, ids: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    values: dict[int, dict[str, Any]] = defaultdict(dict)
    query = select(table).where(table.c.version_id.in_(ids)).order_by(table.c.version_id, table.c.name)
    for row in connection.execute(query):
        values[row.version_id][row.name] = row.value
    return values


def _stages_of(connection: Connection, ids: Sequence[int]) -> Mapping[int, set[str]]:
    held: dict[int, set[str]] = defaultdict(set)
    query = select(stages.c.version_id, stages.c.stage).where(stages.c.version_id.in_(ids))
    for row in connection.execute(query):
        held[row.version_id].add(row.stage)
    return held
