"""Making versions: blobs first, then one transaction that writes the row, so no version ever lacks its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, update

from mlserve.core.digests import FileEntry, Manifest, is_digest
from mlserve.core.evidence import Evidence
from mlserve.core.refs import ModelRef, parse_name
from mlserve.core.tensors import Signature
from mlserve.errors import Conflict, InvalidInput, UsageError
from mlserve.registry import evidencing
from mlserve.registry.artefacts import ArtefactStore, check_paths
from mlserve.registry.filtering import as_number
from mlserve.registry.labels import checked_metrics, checked_text, checked_values
from mlserve.registry.reading import whole_versions
from mlserve.registry.records import Commit, Registration
from mlserve.registry.resolving import lock_model, version_row
from mlserve.registry.schema import (
    blobs,
    model_versions,
    models,
    version_files,
    version_metrics,
    version_params,
    version_tags,
)
from mlserve.registry.store import Store, add_to_epoch, insert_missing


@dataclass(frozen=True, slots=True)
class _Candidate:
    """All that a registration says, checked, with its blobs stored."""

    name: str
    manifest: Manifest
    signature: Signature
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    data_uri: str | None
    data_digest: str | None
    parent: ModelRef | None
    note: str | None
    commit: Commit | None
    kind: str
    golden: FileEntry | None
    evidence: Sequence[Evidence]
    by: str
    now: datetime


def register(
    store: Store,
    artefacts: ArtefactStore,
    name: str,
    model: Path | Mapping[str, Path],
    manifest: Manifest,
    signature: Signature,
    *,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    data_uri: str | None = None,
    data_digest: str | None = None,
    parent: ModelRef | None = None,
    note: str | None = None,
    commit: Commit | None = None,
    kind: str = "onnx",
    golden: bytes | None = None,
    evidence: Sequence[Evidence] = (),
    by: str,
    now: datetime,
) -> Registration:
    """Record a model as an immutable version; the same bytes again are the same version.

    ``model`` is the file, or each path of ``manifest`` with its file; ``golden`` the content of an .npz of rows. For
    bytes that are registered already, new metrics, params and tags are added, a data URI, parent or golden that was
    missing is filled in, a note replaces the old one; the first commit stays.
    Raises Conflict for another value of what is there, UsageError, InvalidInput, NotFound (parent, files), Unavailable.
    """
    files = {manifest.files[0].path: model} if isinstance(model, Path) and manifest.files else model
    assert isinstance(files, Mapping)
    checked = _Candidate(
        name=parse_name(name),
        manifest=manifest,
        signature=signature,
        metrics=checked_metrics(metrics or {}),
        params=checked_values("param", params or {}),
        tags=checked_values("tag", tags or {}),
        data_uri=checked_text("the data URI", data_uri) if data_uri is not None else None,
        data_digest=checked_text("the data digest", data_digest) if data_digest is not None else None,
        parent=parent,
        note=checked_text("the note", note) if note is not None else None,
        commit=commit,
        kind=kind,
        golden=artefacts.put_bytes(golden) if golden is not None else None,
        evidence=_about(manifest, evidence),
        by=by,
        now=now,
    )
    check_paths(manifest)
    if parent is not None:
        with store.reading() as connection:
            version_row(connection, parent)
    artefacts.put(manifest, files)
    return store.write(lambda connection: _write(connection, checked))


def _write(connection: Connection, candidate: _Candidate) -> Registration:
    insert_missing(
        connection, models, {"name": candidate.name, "created_at": candidate.now, "created_by": candidate.by}
    )
    model = lock_model(connection, candidate.name)
    parent = version_row(connection, candidate.parent) if candidate.parent is not None else None
    _add_blobs(connection, candidate)
    row = _with_bytes(connection, model.id, candidate.manifest.digest)
    created = row is None
    if row is None:
        _insert(connection, model, parent, candidate)
    else:
        _fill_in(connection, row, parent, candidate)
    row = _with_bytes(connection, model.id, candidate.manifest.digest)
    assert row is not None
    _add_labels(connection, row, candidate)
    evidencing.record(connection, candidate.evidence)
    add_to_epoch(connection)
    return Registration(whole_versions(connection, [row])[0], created)


def _with_bytes(connection: Connection, model_id: int, digest: str) -> Row[Any] | None:
    same = model_versions.c.model_id == model_id, model_versions.c.digest == digest
    return connection.execute(select(model_versions).where(*same)).first()


def _add_blobs(connection: Connection, candidate: _Candidate) -> None:
    entries = {entry.digest: entry for entry in (*candidate.manifest.files, candidate.golden) if entry is not None}
    # In one order everywhere, so that two registrations sharing blobs cannot wait for each other.
    for digest in sorted(entries):
        row = {"digest": digest, "size_bytes": entries[digest].size_bytes, "created_at": candidate.now}
        insert_missing(connection, blobs, row)


def _insert(connection: Connection, model: Row[Any], parent: Row[Any] | None, candidate: _Candidate) -> None:
    number = model.last_version + 1
    connection.execute(update(models).where(models.c.id == model.id).values(last_version=number))
    row = {
        "model_id": model.id,
        "version": number,
        "digest": candidate.manifest.digest,
        "state": "ready",
        "kind": candidate.kind,
        "parent_id": parent.id if parent else None,
        "signature": candidate.signature.to_dict(),
        "commit_sha": candidate.commit.sha if candidate.commit else None,
        "commit_dirty": candidate.commit.dirty if candidate.commit else None,
        "data_uri": candidate.data_uri,
        "data_digest": candidate.data_digest,
        "golden_digest": candidate.golden.digest if candidate.golden else None,
        "note": candidate.note,
        "created_at": candidate.now,
        "created_by": candidate.by,
    }
    version_id = connection.execute(insert(model_versions).values(row).returning(model_versions.c.id)).scalar_one()
    files = [
        {"version_id": version_id, "position": position, "path": entry.path, "digest": entry.digest}
        for position, entry in enumerate(candidate.manifest.files)
    ]
    connection.execute(insert(version_files), files)


def _fill_in(connection: Connection, row: Row[Any], parent: Row[Any] | None, candidate: _Candidate) -> None:
    if parent is not None and parent.id == row.id:
        raise UsageError(f"'{candidate.parent}' has these bytes itself, so it cannot be their parent")
    where = f"{candidate.name}:{row.version}"
    if parent is not None and row.parent_id is None and _is_above(connection, row.id, parent):
        raise UsageError(f"'{candidate.parent}' was made from {where}, so it cannot be its parent")
    given = {
        "data_uri": candidate.data_uri,
        "data_digest": candidate.data_digest,
        "golden_digest": candidate.golden.digest if candidate.golden else None,
        "parent_id": parent.id if parent else None,
    }
    changes = {column: value for column, value in given.items() if value not in (None, row._mapping[column])}
    for column in changes:
        if row._mapping[column] is not None:
            what = _SAID[column]
            raise Conflict(f"these bytes are {where} already, with another {what}", hint=f"mlserve show {where}")
    if candidate.note not in (None, row.note):
        changes["note"] = candidate.note
    if changes:
        connection.execute(update(model_versions).where(model_versions.c.id == row.id).values(changes))


def _is_above(connection: Connection, version_id: int, row: Row[Any]) -> bool:
    """Whether the version with this id is an ancestor of ``row``."""
    above = row.parent_id
    while above is not None and above != version_id:
        query = select(model_versions.c.parent_id).where(model_versions.c.id == above)
        above = connection.execute(query).scalar_one()
    return above is not None


_SAID = {"data_uri": "data URI", "data_digest": "data digest", "golden_digest": "golden data", "parent_id": "parent"}


def _add_labels(connection: Connection, version: Row[Any], candidate: _Candidate) -> None:
    where = f"{candidate.name}:{version.version}"
    metrics = [{"name": name, "value": value} for name, value in candidate.metrics.items()]
    _add_missing(connection, version_metrics, version.id, metrics, where, "metric")
    for table, kind, values in (
        (version_params, "param", candidate.params),
        (version_tags, "tag", candidate.tags),
    ):
        rows = [{"name": name, "value": text, "number": as_number(text)} for name, text in values.items()]
        _add_missing(connection, table, version.id, rows, where, kind)


def _add_missing(
    connection: Connection, table: Table, version_id: int, rows: Sequence[dict[str, Any]], where: str, kind: str
) -> None:
    query = select(table.c.name, table.c.value).where(table.c.version_id == version_id)
    present = {row.name: row.value for row in connection.execute(query)}
    for row in rows:
        name = row["name"]
        if name not in present:
            connection.execute(insert(table).values(version_id=version_id, **row))
        elif present[name] != row["value"]:
            raise Conflict(
                f"{kind} '{name}' of {where} is {present[name]}, not {row['value']}", hint=f"mlserve show {where}"
            )


def _about(manifest: Manifest, evidence: Sequence[Evidence]) -> Sequence[Evidence]:
    if not is_digest(manifest.digest):
        raise InvalidInput(f"'{manifest.digest}' is not a digest")
    for item in evidence:
        if item.digest != manifest.digest:
            raise InvalidInput(f"'{item.kind}' evidence speaks of {item.digest}, the model is {manifest.digest}")
    return evidence
