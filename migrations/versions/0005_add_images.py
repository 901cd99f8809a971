"""Images, and which of them a query shows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

KEPT = (
    "query_id seq strategy asked_at deadline_at clients server deadlines seed lane run images"
    " digests hash"
)
REFUSAL = "queries is append-only: what was recorded of a query is never changed or removed"
POSTGRESQL_TRIGGER = """
CREATE TRIGGER queries_append_only BEFORE {events} ON queries
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER queries_append_only_KEPT BEFORE {events} ON queries
BEGIN SELECT RAISE(ABORT, '{refusal} (UPDATE)'); END
"""


def upgrade() -> None:
    op.create_table(
        "images",
        sa.Column("image_id", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_images"),
    )
    op.add_column("queries", sa.Column("images", JSON))
    keep_images_of_queries()


def keep_images_of_queries() -> None:
    """What is never changed of a query, not even by an erasure, holds which images it shows."""
    columns = "UPDATE OF " + ", ".join(f'"{column}"' for column in KEPT.split())
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER queries_append_only ON queries")
        op.execute(POSTGRESQL_TRIGGER.format(events=f"{columns} OR TRUNCATE"))
    else:
        op.execute("DROP TRIGGER queries_append_only_KEPT")
        op.execute(SQLITE_TRIGGER.format(events=columns, refusal=REFUSAL))
