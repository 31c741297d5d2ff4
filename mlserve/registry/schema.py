"""The tables, as SQLAlchemy Core. ``migrations/`` makes them; a test holds that the two agree on both dialects.

    models ─< model_versions ─< version_files >─ blobs        version_metrics, version_params, version_tags
       └────< stages ─ model_versions                         stage_history: append-only, one row a generation
    evidence (by digest)   policies (append-only)   registry_epoch (one row)
    serving_instances ─< serving_loads, serving_failures        captures (where servers keep traffic)
    drift_profiles (by digest) ─ drift_states, ─< drift_runs       leases (who may do what now)

Triggers of the migrations keep versions immutable but for state and note (a missing data URI, parent or golden may be
filled in once), and history, policies, evidence and files append-only. Whoever rebuilds such a table in a later
revision must make its triggers again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Every revision of the schema that this code knows, oldest first; it works with the last one only."""
HEAD = REVISIONS[-1]
VERSION_TABLE = "mlserve_alembic_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its time zone: stored in UTC, given back in UTC, on dialects with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "a moment needs its time zone"
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts up by itself only in a column of exactly this type.
Id = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _column(name: str, kind: Any, *arguments: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, *arguments, nullable=options.pop("nullable", False), **options)


def _version_key() -> Column[Any]:
    return _column("version_id", Id, ForeignKey("model_versions.id", ondelete="RESTRICT"), primary_key=True)


def _digest(name: str, **options: Any) -> Column[Any]:
    return _column(name, String(71), **options)


models = Table(
    "models",
    metadata,
    _column("id", Id, primary_key=True),
    _column("name", String(128), unique=True),
    _column("last_version", BigInteger, server_default="0"),
    _column("created_at", UtcDateTime),
    _column("created_by", Text),
)

blobs = Table(
    "blobs",
    metadata,
    _digest("digest", primary_key=True),
    _column("size_bytes", BigInteger),
    _column("created_at", UtcDateTime),
)

model_versions = Table(
    "model_versions",
    metadata,
    _column("id", Id, primary_key=True),
    _column("model_id", Id, ForeignKey("models.id", ondelete="RESTRICT")),
    _column("version", BigInteger),
    _digest("digest"),
    _column("state", String(16)),
    _column("kind", String(32)),
    _column("parent_id", Id, ForeignKey("model_versions.id", ondelete="RESTRICT"), nullable=True),
    _column("signature", Json),
    _column("commit_sha", Text, nullable=True),
    _column("commit_dirty", Boolean, nullable=True),
    _column("data_uri", Text, nullable=True),
    _column("data_digest", Text, nullable=True),
    Column("golden_digest", String(71), ForeignKey("blobs.digest", ondelete="RESTRICT"), nullable=True),
    _column("note", Text, nullable=True),
    _column("created_at", UtcDateTime),
    _column("created_by", Text),
    UniqueConstraint("model_id", "version"),
    UniqueConstraint("model_id", "digest"),
    UniqueConstraint("id", "model_id"),
    CheckConstraint("state IN ('ready', 'archived')", name="state_known"),
    CheckConstraint("version >= 1", name="version_counts_from_one"),
    Index(None, "digest"),
)

version_files = Table(
    "version_files",
    metadata,
    _version_key(),
    _column("position", Integer, primary_key=True),
    _column("path", Text),
    Column("digest", String(71), ForeignKey("blobs.digest", ondelete="RESTRICT"), nullable=False, index=True),
    UniqueConstraint("version_id", "path"),
)

version_metrics = Table(
    "version_metrics",
    metadata,
    _version_key(),
    _column("name", String(128), primary_key=True),
    _column("value", Double),
    Index(None, "name", "value"),
)

version_params = Table(
    "version_params",
    metadata,
    _version_key(),
    _column("name", String(128), primary_key=True),
    _column("value", Text),
    _column("number", Double, nullable=True),
    Index(None, "name", "number"),
)

version_tags = Table(
    "version_tags",
    metadata,
    _version_key(),
    _column("name", String(128), primary_key=True),
    _column("value", Text),
    _column("number", Double, nullable=True),
    Index(None, "name", "number"),
)

stages = Table(
    "stages",
    metadata,
    _column("id", Id, primary_key=True),
    _column("model_id", Id, ForeignKey("models.id", ondelete="RESTRICT")),
    _column("stage", String(16)),
    _column("version_id", Id, nullable=True),
    _column("generation", BigInteger),
    _column("traffic", Double, nullable=True),
    _column("updated_at", UtcDateTime),
    UniqueConstraint("model_id", "stage"),
    ForeignKeyConstraint(
        ["version_id", "model_id"], ["model_versions.id", "model_versions.model_id"], ondelete="RESTRICT"
    ),
    CheckConstraint("stage IN ('staging', 'shadow', 'challenger', 'production')", name="stage_known"),
    CheckConstraint("traffic IS NULL OR (traffic >= 0 AND traffic <= 1)", name="traffic_is_a_share"),
    CheckConstraint("generation >= 0", name="generation_grows"),
    Index(None, "version_id"),
)

stage_history = Table(
    "stage_history",
    metadata,
    _column("id", Id, primary_key=True),
    _column("model_id", Id, ForeignKey("models.id", ondelete="RESTRICT")),
    _column("stage", String(16)),
    _column("generation", BigInteger),
    _column("action", String(16)),
    _column("version_id", Id, ForeignKey("model_versions.id", ondelete="RESTRICT"), nullable=True),
    _column("previous_version_id", Id, ForeignKey("model_versions.id", ondelete="RESTRICT"), nullable=True),
    _column("traffic", Double, nullable=True),
    _column("forced", Boolean),
    _column("reason", Text, nullable=True),
    _column("gates", Json),
    _column("policy_revision", Integer, nullable=True),
    _column("actor", Text),
    _column("at", UtcDateTime),
    UniqueConstraint("model_id", "stage", "generation"),
    CheckConstraint("action IN ('promote', 'rollback', 'withdraw')", name="action_known"),
)

policies = Table(
    "policies",
    metadata,
    _column("id", Id, primary_key=True),
    _column("model_id", Id, ForeignKey("models.id", ondelete="RESTRICT")),
    _column("revision", Integer),
    _column("document", Json),
    _column("set_at", UtcDateTime),
    _column("set_by", Text),
    UniqueConstraint("model_id", "revision"),
)

evidence = Table(
    "evidence",
    metadata,
    _column("id", Id, primary_key=True),
    _digest("record_digest", unique=True),
    _digest("digest"),
    _column("kind", String(64)),
    _column("passed", Boolean, nullable=True),
    _column("figures", Json),
    _column("data_digest", Text, nullable=True),
    _column("tools", Json),
    _column("origin", String(16)),
    _column("measured_at", UtcDateTime),
    _column("measured_by", Text),
    CheckConstraint("origin IN ('measured', 'imported')", name="origin_known"),
    Index(None, "digest", "kind", "measured_at"),
)

registry_epoch = Table(
    "registry_epoch",
    metadata,
    _column("id", Integer, primary_key=True, autoincrement=False),
    _column("epoch", BigInteger),
    CheckConstraint("id = 1", name="one_row"),
)

serving_instances = Table(
    "serving_instances",
    metadata,
    _column("instance_id", String(64), primary_key=True),
    _column("host", Text),
    _column("pid", Integer),
    _column("status", String(32)),
    _column("started_at", UtcDateTime),
    _column("heartbeat_at", UtcDateTime, index=True),
)

serving_loads = Table(
    "serving_loads",
    metadata,
    Column(
        "instance_id",
        String(64),
        ForeignKey("serving_instances.instance_id", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    _column("model", String(128), primary_key=True),
    _column("stage", String(16), primary_key=True),
    _column("generation", BigInteger),
    Index(None, "model", "stage"),
)

serving_failures = Table(
    "serving_failures",
    metadata,
    Column(
        "instance_id",
        String(64),
        ForeignKey("serving_instances.instance_id", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    _column("model", String(128), primary_key=True),
    _column("version", BigInteger, primary_key=True, autoincrement=False),
    _column("reason", Text),
    Index(None, "model", "version"),
)

captures = Table(
    "captures",
    metadata,
    _column("model", String(128), primary_key=True),
    _column("host", String(255), primary_key=True),
    _column("folder", String(1024), primary_key=True),
    _column("reported_at", UtcDateTime),
)

drift_profiles = Table(
    "drift_profiles",
    metadata,
    _column("id", Id, primary_key=True),
    _digest("digest"),
    Column("profile_digest", String(71), ForeignKey("blobs.digest", ondelete="RESTRICT"), nullable=False, index=True),
    _column("data_digest", Text),
    _column("fitted_at", UtcDateTime),
    _column("fitted_by", Text),
    UniqueConstraint("digest", "profile_digest"),
    Index(None, "digest", "fitted_at"),
)

drift_states = Table(
    "drift_states",
    metadata,
    _column("profile_id", Id, ForeignKey("drift_profiles.id", ondelete="RESTRICT"), primary_key=True),
    _column("revision", BigInteger),
    _column("streams", Json),
    _column("watermark", UtcDateTime, nullable=True),
    _column("updated_at", UtcDateTime),
)

drift_runs = Table(
    "drift_runs",
    metadata,
    _column("id", Id, primary_key=True),
    _digest("run_key", unique=True),
    _column("profile_id", Id, ForeignKey("drift_profiles.id", ondelete="RESTRICT")),
    _digest("window_digest"),
    _column("window_start", UtcDateTime, nullable=True),
    _column("window_end", UtcDateTime, nullable=True),
    _column("rows", BigInteger),
    _column("verdict", String(16)),
    _column("document", Json),
    _column("ran_at", UtcDateTime),
    _column("ran_by", Text),
    CheckConstraint(
        "verdict IN ('ok', 'warn', 'critical', 'performance', 'insufficient', 'stale')", name="verdict_known"
    ),
    Index(None, "profile_id", "ran_at"),
)

leases = Table(
    "leases",
    metadata,
    _column("name", String(255), primary_key=True),
    _column("holder", Text),
    _column("token", BigInteger),
    _column("expires_at", UtcDateTime),
)
