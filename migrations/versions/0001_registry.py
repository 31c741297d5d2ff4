"""The registry: models, versions, stages, history, policies, evidence, epoch.

Revision 0001 revises nothing.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
DIGEST = sa.String(71)

# What may change in a row of these tables; everything else is refused, and so is every DELETE.
FROZEN = {
    "version_files": (),
    "version_metrics": (),
    "version_params": (),
    "stage_history": (),
    "policies": (),
    "evidence": (),
    "model_versions": ("state", "note", "parent_id", "data_uri", "data_digest", "golden_digest"),
}
FILLED_ONCE = ("parent_id", "data_uri", "data_digest", "golden_digest")
VERSION_COLUMNS = (
    "id",
    "model_id",
    "version",
    "digest",
    "kind",
    "commit_sha",
    "commit_dirty",
    "created_at",
    "created_by",
)


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("last_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
    )
    op.create_table(
        "blobs",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("signature", JSON, nullable=False),
        sa.Column("commit_sha", sa.Text(), nullable=True),
        sa.Column("commit_dirty", sa.Boolean(), nullable=True),
        sa.Column("data_uri", sa.Text(), nullable=True),
        sa.Column("data_digest", sa.Text(), nullable=True),
        sa.Column("golden_digest", DIGEST, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_model_versions_model_id_models", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["model_versions.id"], name="fk_model_versions_parent_id_model_versions", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["golden_digest"], ["blobs.digest"], name="fk_model_versions_golden_digest_blobs", ondelete="RESTRICT"
        ),
        sa.UniqueConstraint("model_id", "version", name="uq_model_versions_model_id_version"),
        sa.UniqueConstraint("model_id", "digest", name="uq_model_versions_model_id_digest"),
        sa.UniqueConstraint("id", "model_id", name="uq_model_versions_id_model_id"),
        sa.CheckConstraint("state IN ('ready', 'archived')", name=op.f("ck_model_versions_state_known")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_model_versions_version_counts_from_one")),
    )
    op.create_index("ix_model_versions_digest", "model_versions", ["digest"])
    op.create_table(
        "version_files",
        _version_key(),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        *_of_version("version_files", "position"),
        sa.ForeignKeyConstraint(
            ["digest"], ["blobs.digest"], name="fk_version_files_digest_blobs", ondelete="RESTRICT"
        ),
        sa.UniqueConstraint("version_id", "path", name="uq_version_files_version_id_path"),
    )
    op.create_index("ix_version_files_digest", "version_files", ["digest"])
    op.create_table(
        "version_metrics",
        _version_key(),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        *_of_version("version_metrics", "name"),
    )
    op.create_index("ix_version_metrics_name_value", "version_metrics", ["name", "value"])
    for table in ("version_params", "version_tags"):
        op.create_table(
            table,
            _version_key(),
            sa.Column("name", sa.String(128), nullable=False),
            sa.Column("value", sa.Text(), nullable=False),
            sa.Column("number", sa.Double(), nullable=True),
            *_of_version(table, "name"),
        )
        op.create_index(f"ix_{table}_name_number", table, ["name", "number"])
    _create_stages()
    _create_records()
    op.execute("INSERT INTO registry_epoch (id, epoch) VALUES (1, 0)")
    for statement in _triggers(op.get_bind().dialect.name):
        op.execute(statement)


def _create_stages() -> None:
    op.create_table(
        "stages",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("traffic", sa.Double(), nullable=True),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stages"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_stages_model_id_models", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["version_id", "model_id"],
            ["model_versions.id", "model_versions.model_id"],
            name="fk_stages_version_id_model_id_model_versions",
            ondelete="RESTRICT",
        ),
        sa.UniqueConstraint("model_id", "stage", name="uq_stages_model_id_stage"),
        sa.CheckConstraint(
            "stage IN ('staging', 'shadow', 'challenger', 'production')", name=op.f("ck_stages_stage_known")
        ),
        sa.CheckConstraint(
            "traffic IS NULL OR (traffic >= 0 AND traffic <= 1)", name=op.f("ck_stages_traffic_is_a_share")
        ),
        sa.CheckConstraint("generation >= 0", name=op.f("ck_stages_generation_grows")),
    )
    op.create_index("ix_stages_version_id", "stages", ["version_id"])
    op.create_table(
        "stage_history",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("previous_version_id", ID, nullable=True),
        sa.Column("traffic", sa.Double(), nullable=True),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("gates", JSON, nullable=False),
        sa.Column("policy_revision", sa.Integer(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stage_history"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_stage_history_model_id_models", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name="fk_stage_history_version_id_model_versions",
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["previous_version_id"],
            ["model_versions.id"],
            name="fk_stage_history_previous_version_id_model_versions",
            ondelete="RESTRICT",
        ),
        sa.UniqueConstraint("model_id", "stage", "generation", name="uq_stage_history_model_id_stage_generation"),
        sa.CheckConstraint("action IN ('promote', 'rollback', 'withdraw')", name=op.f("ck_stage_history_action_known")),
    )


def _create_records() -> None:
    op.create_table(
        "policies",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_policies_model_id_models", ondelete="RESTRICT"),
        sa.UniqueConstraint("model_id", "revision", name="uq_policies_model_id_revision"),
    )
    op.create_table(
        "evidence",
        sa.Column("id", ID, nullable=False),
        sa.Column("record_digest", DIGEST, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("figures", JSON, nullable=False),
        sa.Column("data_digest", sa.Text(), nullable=True),
        sa.Column("tools", JSON, nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("measured_at", MOMENT, nullable=False),
        sa.Column("measured_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
        sa.UniqueConstraint("record_digest", name="uq_evidence_record_digest"),
        sa.CheckConstraint("origin IN ('measured', 'imported')", name=op.f("ck_evidence_origin_known")),
    )
    op.create_index("ix_evidence_digest_kind_measured_at", "evidence", ["digest", "kind", "measured_at"])
    op.create_table(
        "registry_epoch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_registry_epoch"),
        sa.CheckConstraint("id = 1", name=op.f("ck_registry_epoch_one_row")),
    )


def _version_key() -> sa.Column[int]:
    return sa.Column("version_id", ID, nullable=False)


def _of_version(table: str, second_key: str) -> tuple[sa.Constraint, ...]:
    return (
        sa.PrimaryKeyConstraint("version_id", second_key, name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=f"fk_{table}_version_id_model_versions", ondelete="RESTRICT"
        ),
    )


def _triggers(dialect: str) -> Iterator[str]:
    if dialect == "postgresql":
        yield (
            "CREATE FUNCTION mlserve_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'a row of % never changes', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; "
            "END $$"
        )
    for table, changing in FROZEN.items():
        yield _trigger(dialect, table, "DELETE")
        yield _trigger(dialect, table, "UPDATE", _changed(dialect) if changing else None)


def _changed(dialect: str) -> str:
    """The condition under which an update of a version's row is refused."""
    distinct = "IS DISTINCT FROM" if dialect == "postgresql" else "IS NOT"
    fixed = [f"NEW.{column} {distinct} OLD.{column}" for column in (*VERSION_COLUMNS, "signature")]
    once = [f"(OLD.{column} IS NOT NULL AND NEW.{column} {distinct} OLD.{column})" for column in FILLED_ONCE]
    return " OR ".join(fixed + once)


def _trigger(dialect: str, table: str, verb: str, condition: str | None = None) -> str:
    name = f"frozen_{table}_{verb.lower()}"
    when = f"WHEN ({condition}) " if condition else ""
    if dialect == "postgresql":
        return f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {when}EXECUTE FUNCTION mlserve_refuse()"
    return f"CREATE TRIGGER {name} BEFORE {verb} ON {table} {when}BEGIN SELECT RAISE(ABORT, 'a row of {table} never changes'); END"


def downgrade() -> None:
    for table in (
        "registry_epoch",
        "evidence",
        "policies",
        "stage_history",
        "stages",
        "version_tags",
        "version_params",
        "version_metrics",
        "version_files",
        "model_versions",
        "blobs",
        "models",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION mlserve_refuse()")
