"""Lanes, runs, the likelihood of choices, and attempts of suspect steps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
REFUSAL = "attempts is append-only: what was recorded of a query is never changed or removed"
POSTGRESQL_TRIGGER = """
CREATE TRIGGER attempts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON attempts
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER attempts_append_only_{event} BEFORE {event} ON attempts
BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END
"""
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    for table in ("queries", "steps"):
        lane = sa.Column("lane", sa.Text, nullable=False, server_default="interactive")
        op.add_column(table, lane)
    op.add_column("queries", sa.Column("run", sa.Text))
    op.add_column("steps", sa.Column("choices", JSON))
    op.add_column("outcomes", sa.Column("choice_logprobs", JSON))
    op.create_table(
        "attempts",
        sa.Column("query_id", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("attempt_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["query_id"], ["queries.query_id"], name="fk_attempts_query_id"),
        sa.ForeignKeyConstraint(["step_id"], ["steps.step_id"], name="fk_attempts_step_id"),
        sa.PrimaryKeyConstraint("query_id", "seq", name="pk_attempts"),
        sa.UniqueConstraint("attempt_id", name="uq_attempts_attempt_id"),
        sa.CheckConstraint("kind IN ('returned', 'alone')", name="kind"),
    )
    op.create_index("ix_attempts_step_id", "attempts", ["step_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRESQL_TRIGGER)
    else:
        for event in ("UPDATE", "DELETE"):
            op.execute(SQLITE_TRIGGER.format(event=event, refusal=REFUSAL))
