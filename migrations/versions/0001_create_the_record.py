"""Create the record."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
DECIDES = sa.text("status <> 'late'")
OPEN = sa.text("open")

REFUSAL = "{table} is append-only: what was recorded of a query is never changed or removed"
POSTGRESQL_FUNCTION = """
CREATE FUNCTION colm_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{refusal} (%)', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER {table}_append_only_{event} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END
"""


def upgrade() -> None:
    create_queries()
    create_progress()
    create_rounds_and_decisions()
    create_steps()
    create_outcomes()
    create_answers()
    create_transport()
    refuse_changes()


def query_id() -> sa.Column[Any]:
    return sa.Column("query_id", sa.Text, nullable=False)


def of_query(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["query_id"], ["queries.query_id"], name=f"fk_{table}_query_id")


def create_queries() -> None:
    op.create_table(
        "queries",
        query_id(),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("deadline_at", TIME),
        sa.Column("options", JSON),
        sa.Column("clients", JSON),
        sa.Column("server", JSON),
        sa.Column("deadlines", JSON),
        sa.Column("seed", sa.BigInteger),
        sa.PrimaryKeyConstraint("query_id", name="pk_queries"),
    )
    op.create_index("ix_queries_asked_at", "queries", ["asked_at"])


def create_progress() -> None:
    op.create_table(
        "progress",
        query_id(),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("wake_at", TIME, nullable=False),
        sa.Column("next_seq", sa.Integer, nullable=False),
        of_query("progress"),
        sa.PrimaryKeyConstraint("query_id", name="pk_progress"),
    )
    op.create_index(
        "ix_progress_wake_at",
        "progress",
        ["wake_at"],
        postgresql_where=OPEN,
        sqlite_where=OPEN,
    )


def create_rounds_and_decisions() -> None:
    op.create_table(
        "rounds",
        query_id(),
        sa.Column("round", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
        of_query("rounds"),
        sa.PrimaryKeyConstraint("query_id", "round", name="pk_rounds"),
        sa.UniqueConstraint("query_id", "seq", name="uq_rounds_query_id_seq"),
    )
    op.create_table(
        "decisions",
        query_id(),
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("at", TIME, nullable=False),
        of_query("decisions"),
        sa.PrimaryKeyConstraint("query_id", "seq", name="pk_decisions"),
    )


def create_steps() -> None:
    op.create_table(
        "steps",
        sa.Column("step_id", sa.Text, nullable=False),
        query_id(),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("participant", sa.Text, nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("messages", JSON, nullable=False),
        sa.Column("prompt_version", sa.Text, nullable=False),
        sa.Column("sampling", JSON, nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("deadline_at", TIME, nullable=False),
        of_query("steps"),
        sa.PrimaryKeyConstraint("step_id", name="pk_steps"),
        sa.UniqueConstraint("query_id", "seq", name="uq_steps_query_id_seq"),
        sa.UniqueConstraint(
            *("query_id", "round", "act", "participant", "index"),
            name="uq_steps_query_id_round_act_participant_index",
        ),
    )


def create_outcomes() -> None:
    op.create_table(
        "outcomes",
        query_id(),
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("error_kind", "error_reason")),
        *(sa.Column(name, sa.Text) for name in ("text", "finish_reason")),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        *(sa.Column(name, sa.Double) for name in ("queued_s", "first_token_s", "total_s")),
        sa.Column("batch_size", sa.BigInteger),
        *(sa.Column(name, sa.Text) for name in ("engine", "model", "dtype", "device")),
        sa.Column("seed", sa.BigInteger),
        sa.Column("mean_logprob", sa.Double),
        of_query("outcomes"),
        sa.ForeignKeyConstraint(["step_id"], ["steps.step_id"], name="fk_outcomes_step_id"),
        sa.PrimaryKeyConstraint("query_id", "seq", name="pk_outcomes"),
        sa.CheckConstraint(
            "status IN ('completed', 'failed', 'expired', 'late')", name=op.f("ck_outcomes_status")
        ),
    )
    op.create_index(
        "uq_outcomes_deciding",
        "outcomes",
        ["step_id"],
        unique=True,
        postgresql_where=DECIDES,
        sqlite_where=DECIDES,
    )


def create_answers() -> None:
    op.create_table(
        "answers",
        query_id(),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("answer", JSON),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=False),
        of_query("answers"),
        sa.PrimaryKeyConstraint("query_id", name="pk_answers"),
        sa.CheckConstraint(
            "status IN ('answered', 'failed', 'refused')", name=op.f("ck_answers_status")
        ),
    )
    op.create_index("ix_answers_status_asked_at", "answers", ["status", "asked_at"])


def create_transport() -> None:
    op.create_table(
        "dispatches",
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["step_id"], ["steps.step_id"], name="fk_dispatches_step_id"),
        sa.PrimaryKeyConstraint("step_id", "at", name="pk_dispatches"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("query_id", sa.Text),
        sa.Column("step_id", sa.Text),
        sa.PrimaryKeyConstraint("message_id", name="pk_dead_letters"),
    )
    op.create_index("ix_dead_letters_at", "dead_letters", ["at"])
    op.create_index("ix_dead_letters_query_id", "dead_letters", ["query_id"])


def refuse_changes() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        op.execute(POSTGRESQL_FUNCTION.format(refusal=REFUSAL.format(table="%")))
    append_only = ("queries", "rounds", "steps", "outcomes", "decisions", "answers")
    for table in (*append_only, "dispatches", "dead_letters"):
        if on_postgresql:
            op.execute(POSTGRESQL_TRIGGER.format(table=table))
            continue
        for event in ("UPDATE", "DELETE"):
            refusal = REFUSAL.format(table=table)
            op.execute(SQLITE_TRIGGER.format(table=table, event=event, refusal=refusal))
