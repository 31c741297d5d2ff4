"""Servers that follow the registry: their heartbeat, and the generation of each stage that they have loaded.

Revision 0002 revises 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "serving_instances",
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name="pk_serving_instances"),
    )
    op.create_index("ix_serving_instances_heartbeat_at", "serving_instances", ["heartbeat_at"])
    op.create_table(
        "serving_loads",
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "model", "stage", name="pk_serving_loads"),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["serving_instances.instance_id"],
            name="fk_serving_loads_instance_id_serving_instances",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_serving_loads_model_stage", "serving_loads", ["model", "stage"])


def downgrade() -> None:
    op.drop_table("serving_loads")
    op.drop_table("serving_instances")
