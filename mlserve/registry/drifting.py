"""Drift in the registry: a version's profile, the runs of checks against it, and what the checks remember.

fit ──attach_profile──► drift_profiles (by the version's digest; the last fitted is the one in force)
check ──record_run──► one transaction: the run (once for each key), streams and watermark, evidence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, select, update

from mlserve.core.digests import FileEntry
from mlserve.core.evidence import Evidence
from mlserve.core.refs import ModelRef
from mlserve.errors import Conflict, NotFound
from mlserve.registry.evidencing import record
from mlserve.registry.leases import Lease, require
from mlserve.registry.records import DriftProfile, DriftRun
from mlserve.registry.resolving import version_row
from mlserve.registry.schema import blobs, drift_profiles, drift_runs, drift_states
from mlserve.registry.store import Store, add_to_epoch, insert_missing

Verdict = Literal["ok", "warn", "critical", "performance", "insufficient", "stale"]


@dataclass(frozen=True, slots=True)
class DriftState:
    """What checks against one profile remember: ``streams`` by name as JSON, and up to when rows were looked at.

    ``revision`` is 0 before the first run, and grows with each change.
    """

    revision: int = 0
    streams: Mapping[str, Any] = field(default_factory=dict)
    watermark: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """What one check found. ``key`` is the same for the same window held against the same in the same way."""

    key: str
    profile_id: int
    window_digest: str
    window_start: datetime | None
    window_end: datetime | None
    rows: int
    verdict: Verdict
    document: Mapping[str, Any]


def attach_profile(
    store: Store,
    ref: ModelRef,
    entry: FileEntry,
    data_digest: str,
    *,
    by: str,
    now: datetime,
    evidence: Sequence[Evidence] = (),
) -> DriftProfile:
    """Let the stored profile ``entry`` be the one in force for the bytes of the version that ``ref`` names.

    One that was attached before is in force again, with what its checks remember. Raises NotFound, Unavailable.
    """

    def work(connection: Connection) -> DriftProfile:
        version = version_row(connection, ref)
        row = {"digest": entry.digest, "size_bytes": entry.size_bytes, "created_at": now}
        insert_missing(connection, blobs, row)
        key = {"digest": version.digest, "profile_digest": entry.digest}
        fitted = {"data_digest": data_digest, "fitted_at": now, "fitted_by": by}
        created = insert_missing(connection, drift_profiles, key | fitted)
        same = [drift_profiles.c[name] == value for name, value in key.items()]
        if not created and _in_force(connection, version.digest) != entry.digest:
            connection.execute(update(drift_profiles).where(*same).values(fitted))
        record(connection, evidence)
        found = connection.execute(select(drift_profiles).where(*same)).one()
        add_to_epoch(connection)
        return DriftProfile(**found._mapping)

    return store.write(work)


def profile_of(store: Store, ref: ModelRef) -> DriftProfile:
    """The profile in force of the version that ``ref`` names. Raises NotFound where there is none, Unavailable."""
    with store.reading() as connection:
        version = version_row(connection, ref)
        row = _newest(connection, version.digest)
    if row is None:
        name = f"{ref.name}:{version.version}"
        raise NotFound(f"'{name}' has no drift profile", hint=f"mlserve drift fit {name} --reference DATA")
    return DriftProfile(**row._mapping)


def profiles_of(store: Store, digest: str) -> list[DriftProfile]:
    """Every profile of a model's bytes, the one in force first. Raises Unavailable."""
    with store.reading() as connection:
        return [DriftProfile(**row._mapping) for row in connection.execute(_by_age(digest))]


def state_of(store: Store, profile_id: int) -> DriftState:
    """What checks against this profile remember; an empty state before the first. Raises Unavailable."""
    with store.reading() as connection:
        row = connection.execute(select(drift_states).where(drift_states.c.profile_id == profile_id)).first()
    return DriftState() if row is None else DriftState(row.revision, row.streams, row.watermark)


def find_run(store: Store, key: str) -> DriftRun | None:
    """The run with this key, None where there was none yet. Raises Unavailable."""
    with store.reading() as connection:
        row = connection.execute(select(drift_runs).where(drift_runs.c.run_key == key)).first()
    return None if row is None else DriftRun(**row._mapping)


def runs_of(store: Store, digest: str, limit: int | None = None) -> list[DriftRun]:
    """The runs against any profile of a model's bytes, newest first. Raises Unavailable."""
    query = (
        select(drift_runs)
        .join(drift_profiles, drift_profiles.c.id == drift_runs.c.profile_id)
        .where(drift_profiles.c.digest == digest)
        .order_by(drift_runs.c.ran_at.desc(), drift_runs.c.id.desc())
        .limit(limit)
    )
    with store.reading() as connection:
        return [DriftRun(**row._mapping) for row in connection.execute(query)]


def record_run(
    store: Store,
    run: NewRun,
    state: DriftState,
    *,
    by: str,
    now: datetime,
    lease: Lease | None = None,
    evidence: Sequence[Evidence] = (),
) -> tuple[DriftRun, bool]:
    """Keep a run, and with it what is remembered from now on: all or nothing. False where the key has a run already.

    That one is then the answer, and nothing is changed. ``state`` has the revision that was read before the check.
    Raises Conflict where another run has changed the state since, or ``lease`` was lost; Unavailable.
    """

    def work(connection: Connection) -> tuple[DriftRun, bool]:
        if lease is not None:
            require(connection, lease)
        fields = {
            "run_key": run.key,
            "profile_id": run.profile_id,
            "window_digest": run.window_digest,
            "window_start": run.window_start,
            "window_end": run.window_end,
            "rows": run.rows,
            "verdict": run.verdict,
            "document": dict(run.document),
            "ran_at": now,
            "ran_by": by,
        }
        created = insert_missing(connection, drift_runs, fields)
        kept = connection.execute(select(drift_runs).where(drift_runs.c.run_key == run.key)).one()
        if created:
            _advance(connection, run.profile_id, state, now)
            record(connection, evidence)
            add_to_epoch(connection)
        return DriftRun(**kept._mapping), created

    return store.write(work)


def _advance(connection: Connection, profile_id: int, state: DriftState, now: datetime) -> None:
    """Compare-and-set on the revision: a check that read an older state would forget what came between."""
    changed = {
        "revision": state.revision + 1,
        "streams": dict(state.streams),
        "watermark": state.watermark,
        "updated_at": now,
    }
    if state.revision == 0:
        is_first = insert_missing(connection, drift_states, {"profile_id": profile_id, **changed})
        done = 1 if is_first else 0
    else:
        seen = (drift_states.c.profile_id == profile_id) & (drift_states.c.revision == state.revision)
        done = connection.execute(update(drift_states).where(seen).values(changed)).rowcount
    if not done:
        raise Conflict("another drift check of this version ended meanwhile", hint="run it again")


def _by_age(digest: str) -> Any:
    newest_first = drift_profiles.c.fitted_at.desc(), drift_profiles.c.id.desc()
    return select(drift_profiles).where(drift_profiles.c.digest == digest).order_by(*newest_first)


def _newest(connection: Connection, digest: str) -> Row[Any] | None:
    return connection.execute(_by_age(digest).limit(1)).first()


def _in_force(connection: Connection, digest: str) -> str | None:
    row = _newest(connection, digest)
    return None if row is None else str(row.profile_digest)
