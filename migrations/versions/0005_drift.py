"""Drift: the profile of a version's reference, what checks found, what they remember, and who may run one now.

Revision 0005 revises 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)
VERDICTS = "verdict IN ('ok', 'warn', 'critical', 'performance', 'insufficient', 'stale')"


def upgrade() -> None:
    op.create_table(
        "drift_profiles",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("profile_digest", sa.String(71), nullable=False),
        sa.Column("data_digest", sa.Text(), nullable=False),
        sa.Column("fitted_at", TIME, nullable=False),
        sa.Column("fitted_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drift_profiles"),
        sa.UniqueConstraint("digest", "profile_digest", name="uq_drift_profiles_digest_profile_digest"),
        sa.ForeignKeyConstraint(
            ["profile_digest"], ["blobs.digest"], name="fk_drift_profiles_profile_digest_blobs", ondelete="RESTRICT"
        ),
    )
    op.create_index("ix_drift_profiles_profile_digest", "drift_profiles", ["profile_digest"])
    op.create_index("ix_drift_profiles_digest_fitted_at", "drift_profiles", ["digest", "fitted_at"])
    op.create_table(
        "drift_states",
        sa.Column("profile_id", ID, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("streams", JSON, nullable=False),
        sa.Column("watermark", TIME, nullable=True),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("profile_id", name="pk_drift_states"),
        sa.ForeignKeyConstraint(
            ["profile_id"], ["drift_profiles.id"], name="fk_drift_states_profile_id_drift_profiles", ondelete="RESTRICT"
        ),
    )
    op.create_table(
        "drift_runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("run_key", sa.String(71), nullable=False),
        sa.Column("profile_id", ID, nullable=False),
        sa.Column("window_digest", sa.String(71), nullable=False),
        sa.Column("window_start", TIME, nullable=True),
        sa.Column("window_end", TIME, nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.Column("ran_at", TIME, nullable=False),
        sa.Column("ran_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drift_runs"),
        sa.UniqueConstraint("run_key", name="uq_drift_runs_run_key"),
        sa.CheckConstraint(VERDICTS, name="ck_drift_runs_verdict_known"),
        sa.ForeignKeyConstraint(
            ["profile_id"], ["drift_profiles.id"], name="fk_drift_runs_profile_id_drift_profiles", ondelete="RESTRICT"
        ),
    )
    op.create_index("ix_drift_runs_profile_id_ran_at", "drift_runs", ["profile_id", "ran_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def downgrade() -> None:
    for table in ("leases", "drift_runs", "drift_states", "drift_profiles"):
        op.drop_table(table)
