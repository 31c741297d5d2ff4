"""Finding, listing, labelling, archiving and comparing versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from mlserve.core.refs import ModelRef, Stage
from mlserve.errors import Conflict
from mlserve.registry.filtering import as_condition, as_number, parse_where
from mlserve.registry.labels import checked_key, checked_values
from mlserve.registry.reading import whole_versions
from mlserve.registry.records import ModelSummary, State, Version, VersionDiff
from mlserve.registry.resolving import model_row, version_row
from mlserve.registry.schema import model_versions, models, stages, version_metrics, version_tags
from mlserve.registry.store import Store, add_to_epoch, insert_missing


def get_version(store: Store, ref: ModelRef) -> Version:
    """The version that ``ref`` names, whole. Raises NotFound naming what is there, Unavailable."""
    with store.reading() as connection:
        return _whole(connection, ref)


def list_versions(
    store: Store, name: str | None = None, where: str | None = None, limit: int | None = None
) -> list[Version]:
    """The versions of the model ``name`` (None: of all models) newest first, those that fulfil ``where``.

    ``limit`` counts versions. Raises NotFound, UsageError for a condition that cannot be read, Unavailable.
    """
    query = select(model_versions)
    if where is not None:
        query = query.where(as_condition(parse_where(where)))
    with store.reading() as connection:
        if name is None:
            query = query.order_by(model_versions.c.created_at.desc(), model_versions.c.id.desc())
        else:
            model_id = model_row(connection, name).id
            query = query.where(model_versions.c.model_id == model_id).order_by(model_versions.c.version.desc())
        rows = connection.execute(query.limit(limit)).all()
        return whole_versions(connection, rows)


def list_models(store: Store, limit: int | None = None) -> list[ModelSummary]:
    """Every model, the newest first. Raises Unavailable."""
    counted = (
        select(models, func.count(model_versions.c.id).label("versions"))
        .outerjoin(model_versions, model_versions.c.model_id == models.c.id)
        .group_by(models.c.id)
        .order_by(models.c.id.desc())
        .limit(limit)
    )
    holders = select(stages.c.model_id, stages.c.stage, model_versions.c.version).join(
        model_versions, model_versions.c.id == stages.c.version_id
    )
    with store.reading() as connection:
        held: dict[int, dict[str, int]] = defaultdict(dict)
        for row in connection.execute(holders):
            held[row.model_id][row.stage] = row.version
        metrics = _newest_metrics(connection)
        return [
            ModelSummary(
                name=row.name,
                versions=row.versions,
                latest=row.last_version or None,
                ref=f"{row.name}:{row.last_version}" if row.last_version else None,
                metrics=metrics.get(row.id, {}),
                stages={stage.value: held[row.id][stage] for stage in Stage if stage in held[row.id]},
                created_at=row.created_at,
                created_by=row.created_by,
            )
            for row in connection.execute(counted)
        ]


def _newest_metrics(connection: Connection) -> Mapping[int, dict[str, float]]:
    """The metrics of each model's newest version, by the model's id."""
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    is_newest = (models.c.id == model_versions.c.model_id) & (models.c.last_version == model_versions.c.version)
    query = (
        select(models.c.id, version_metrics.c.name, version_metrics.c.value)
        .join(model_versions, is_newest)
        .join(version_metrics, version_metrics.c.version_id == model_versions.c.id)
        .order_by(version_metrics.c.name)
    )
    for row in connection.execute(query):
        metrics[row.id][row.name] = row.value
    return metrics


def set_tags(store: Store, ref: ModelRef, tags: Mapping[str, str | None]) -> Version:
    """Set tags of a version, replacing values; None takes a tag away. Raises NotFound, UsageError, InvalidInput."""
    checked_values("tag", {name: value for name, value in tags.items() if value is not None})

    def work(connection: Connection) -> Version:
        version_id = version_row(connection, ref).id
        for name, value in tags.items():
            key = version_tags.c.version_id == version_id, version_tags.c.name == checked_key("tag", name)
            if value is None:
                connection.execute(delete(version_tags).where(*key))
                continue
            row = {"value": value, "number": as_number(value)}
            if not insert_missing(connection, version_tags, {"version_id": version_id, "name": name, **row}):
                connection.execute(update(version_tags).where(*key).values(row))
        version = _whole(connection, ref)
        add_to_epoch(connection)
        return version

    return store.write(work)


def archive(store: Store, ref: ModelRef) -> Version:
    """Take a version out of use; it enters no stage until ``unarchive``. Archiving twice changes nothing.

    Raises Conflict while it holds a stage, NotFound, Unavailable.
    """
    return _set_state(store, ref, "archived")


def unarchive(store: Store, ref: ModelRef) -> Version:
    """Make an archived version ready for use again. Raises NotFound, Unavailable."""
    return _set_state(store, ref, "ready")


def diff(store: Store, a: ModelRef, b: ModelRef) -> VersionDiff:
    """What differs between two versions, of one model or of two. Raises NotFound, Unavailable."""
    with store.reading() as connection:
        return difference(_whole(connection, a), _whole(connection, b))


def difference(a: Version, b: Version) -> VersionDiff:
    """As ``diff``, of versions at hand; ``incompatible`` is why clients of ``a`` could not be answered by ``b``."""
    plain = ("state", "kind", "parent", "commit", "dirty", "data_uri", "data_digest", "golden", "note", "created_by")
    return VersionDiff(
        a=a.ref,
        b=b.ref,
        same_bytes=a.digest == b.digest,
        fields=_differing({name: getattr(a, name) for name in plain}, {name: getattr(b, name) for name in plain}),
        metrics=_differing(a.metrics, b.metrics),
        params=_differing(a.params, b.params),
        tags=_differing(a.tags, b.tags),
        files=_differing(
            {entry.path: entry.digest for entry in a.files}, {entry.path: entry.digest for entry in b.files}
        ),
        incompatible=a.signature.incompatibilities(b.signature),
    )


def _whole(connection: Connection, ref: ModelRef) -> Version:
    return whole_versions(connection, [version_row(connection, ref)])[0]


def _set_state(store: Store, ref: ModelRef, state: State) -> Version:
    def work(connection: Connection) -> Version:
        version_id = version_row(connection, ref).id
        # A promotion of this version holds its row as well, so either it is seen here or it sees the new state.
        row = connection.execute(
            select(model_versions).where(model_versions.c.id == version_id).with_for_update()
        ).one()
        held = connection.execute(select(stages.c.stage).where(stages.c.version_id == version_id)).scalars().all()
        if state == "archived" and held:
            where = ", ".join(stage.value for stage in Stage if stage in held)
            raise Conflict(
                f"'{ref.name}:{row.version}' is in {where}",
                hint=f"mlserve withdraw {ref.name}@{held[0]}, or promote another",
            )
        connection.execute(update(model_versions).where(model_versions.c.id == version_id).values(state=state))
        version = whole_versions(
            connection, connection.execute(select(model_versions).where(model_versions.c.id == version_id)).all()
        )[0]
        if row.state != state:
            add_to_epoch(connection)
        return version

    return store.write(work)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = sorted({*a, *b})
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}
