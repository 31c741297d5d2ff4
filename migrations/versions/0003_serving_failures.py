"""What servers could not load, and why, beside their heartbeat.

Revision 0003 revises 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "serving_failures",
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "model", "version", name="pk_serving_failures"),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["serving_instances.instance_id"],
            name="fk_serving_failures_instance_id_serving_instances",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_serving_failures_model_version", "serving_failures", ["model", "version"])


def downgrade() -> None:
    op.drop_table("serving_failures")
