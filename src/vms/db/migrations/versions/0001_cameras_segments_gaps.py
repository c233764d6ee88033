"""Cameras, segments, gaps."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "cameras",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("username", sa.String(256), nullable=False),
        sa.Column("password", sa.String(256), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cameras"),
    )
    op.create_table(
        "segments",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("camera_id", sa.String(64), nullable=False),
        sa.Column("volume", sa.String(64), nullable=False),
        sa.Column("path", sa.String(512), nullable=False),
        sa.Column("container", sa.String(8), nullable=False),
        sa.Column("codec", sa.String(16), nullable=False),
        sa.Column("codec_string", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("fragments", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        sa.UniqueConstraint("volume", "path", name="uq_segments_volume_path"),
        sa.CheckConstraint("state IN ('open', 'closed')", name="ck_segments_state"),
    )
    op.create_index("ix_segments_camera_id_start_us", "segments", ["camera_id", "start_us"])
    op.create_index("ix_segments_volume_state_end_us", "segments", ["volume", "state", "end_us"])
    op.create_table(
        "gaps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("camera_id", sa.String(64), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gaps"),
        sa.UniqueConstraint("camera_id", "start_us", "cause", name="uq_gaps_camera_id_start_us_cause"),
    )
    op.create_index("ix_gaps_camera_id_end_us", "gaps", ["camera_id", "end_us"])


def downgrade() -> None:
    op.drop_table("gaps")
    op.drop_table("segments")
    op.drop_table("cameras")
