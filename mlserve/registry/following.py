"""How servers keep up: they poll one integer, read what stands where when it grew, and say what they have loaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from mlserve.core.refs import Stage
from mlserve.registry.reading import files_of
from mlserve.registry.records import Instance, Placement
from mlserve.registry.schema import (
    model_versions,
    models,
    registry_epoch,
    serving_failures,
    serving_instances,
    serving_loads,
    stages,
)
from mlserve.registry.store import Store, insert_missing

LIVE_S = 10.0
"""How long after its last report a server still counts as live."""
KEPT = timedelta(days=1)
"""How long the row of a server that fell silent is kept."""
EVERY_MODEL = "*"
"""In ``loaded``, the name under which a server that follows every model says so."""


def epoch(store: Store) -> int:
    """A number that grows with every change of the registry. Raises Unavailable, also where its file was taken away.

    Read it before ``placements``: what is read afterwards is at least as new as the epoch says.
    """
    store.check_in_place()
    with store.reading() as connection:
        return int(connection.execute(select(registry_epoch.c.epoch)).scalar_one())


def placements(store: Store, names: Collection[str] | None = None) -> list[Placement]:
    """What stands in each stage of the models ``names`` (None: of all), in one consistent view.

    An empty stage, and a model that does not exist, have no placement. Raises Unavailable.
    """
    query = (
        select(
            models.c.name,
            stages.c.stage,
            stages.c.generation,
            stages.c.traffic,
            model_versions.c.id,
            model_versions.c.version,
            model_versions.c.digest,
            model_versions.c.golden_digest,
        )
        .join(models, models.c.id == stages.c.model_id)
        .join(model_versions, model_versions.c.id == stages.c.version_id)
        .order_by(models.c.name, stages.c.id)
    )
    if names is not None:
        query = query.where(models.c.name.in_(sorted(names)))
    with store.reading() as connection:
        rows = connection.execute(query).all()
        files = files_of(connection, [row.id for row in rows])
        return [
            Placement(
                name=row.name,
                stage=Stage(row.stage),
                version=row.version,
                digest=row.digest,
                generation=row.generation,
                files=files[row.id],
                golden=row.golden_digest,
                traffic=row.traffic,
            )
            for row in rows
        ]


def report_instance(
    store: Store,
    instance_id: str,
    *,
    host: str,
    pid: int,
    started_at: datetime,
    now: datetime,
    loaded: Mapping[tuple[str, Stage], int],
    failures: Mapping[tuple[str, int], str] | None = None,
    status: str = "ready",
) -> None:
    """A server's heartbeat: the generation that it has loaded of each stage it follows, in place of its last report.

    A stage that it follows and has nothing of (yet) is generation 0; a server that follows every model adds the name
    ``EVERY_MODEL``. ``failures`` are the (model, version) that it cannot load, and why. Does not add to the epoch.
    Raises Unavailable.
    """

    def work(connection: Connection) -> None:
        row = {"instance_id": instance_id, "host": host, "pid": pid, "started_at": started_at}
        said = {"heartbeat_at": now, "status": status}
        if insert_missing(connection, serving_instances, row | said):
            long_gone = serving_instances.c.heartbeat_at < now - KEPT
            connection.execute(delete(serving_instances).where(long_gone))
        else:
            here = serving_instances.c.instance_id == instance_id
            connection.execute(update(serving_instances).where(here).values(said))
        loads = [(name, str(stage), seen) for (name, stage), seen in loaded.items()]
        _replace(connection, serving_loads, instance_id, loads)
        failed = [(name, version, reason) for (name, version), reason in (failures or {}).items()]
        _replace(connection, serving_failures, instance_id, failed)

    store.write(work)


def _replace(connection: Connection, table: Table, instance_id: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Let ``rows`` be all that ``table`` has of the instance, writing nothing where they are already."""
    of_instance = table.c.instance_id == instance_id
    columns = [column for column in table.columns if column.name != "instance_id"]
    present = {tuple(row) for row in connection.execute(select(*columns).where(of_instance))}
    if present == set(rows):
        return
    connection.execute(delete(table).where(of_instance))
    if rows:
        names = [column.name for column in columns]
        connection.execute(
            insert(table), [{"instance_id": instance_id, **dict(zip(names, row, strict=True))} for row in rows]
        )


def forget_instance(store: Store, instance_id: str) -> None:
    """A server that ends says so, and nobody waits for it any more. Raises Unavailable."""

    def work(connection: Connection) -> None:
        connection.execute(delete(serving_instances).where(serving_instances.c.instance_id == instance_id))

    store.write(work)


def live_instances(store: Store, now: datetime, ttl_s: float = LIVE_S) -> list[Instance]:
    """The servers heard of in the last ``ttl_s`` seconds, oldest first. Raises Unavailable."""
    live = serving_instances.c.heartbeat_at >= now - timedelta(seconds=ttl_s)
    with store.reading() as connection:
        rows = connection.execute(select(serving_instances).where(live).order_by(serving_instances.c.started_at)).all()
        loaded: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
        reported = select(serving_loads).where(serving_loads.c.instance_id.in_([row.instance_id for row in rows]))
        for load in connection.execute(reported):
            loaded[load.instance_id][load.model, load.stage] = load.generation
        failures: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
        failed = select(serving_failures).where(serving_failures.c.instance_id.in_([row.instance_id for row in rows]))
        for one in connection.execute(failed):
            failures[one.instance_id][one.model, one.version] = one.reason
    return [
        Instance(**row._mapping, loaded=loaded[row.instance_id], failures=failures[row.instance_id]) for row in rows
    ]


def lagging(
    store: Store, name: str, stage: Stage, generation: int, now: datetime, ttl_s: float = LIVE_S
) -> list[Instance]:
    """The live servers that follow the model ``name`` and have not loaded ``generation`` of ``stage`` yet.

    Empty is what ``promote --wait`` waits for. Raises Unavailable.
    """
    return [
        instance
        for instance in live_instances(store, now, ttl_s)
        if any(model in (name, EVERY_MODEL) for model, _ in instance.loaded)
        and instance.loaded.get((name, stage.value), 0) < generation
    ]
