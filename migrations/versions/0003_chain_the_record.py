"""Chain the record: every row of a query carries a hash over itself and its predecessor."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
UNSEALED = sa.text("NOT open AND NOT sealed")

#: The columns that an erasure leaves as they are, by table; the others are texts and salts.
KEPT = {
    "queries": "query_id seq strategy asked_at deadline_at clients server deadlines seed lane run"
    " digests hash",
    "steps": "step_id query_id seq round act participant index role prompt_version sampling"
    " asked_at deadline_at lane digests hash",
    "outcomes": "query_id seq step_id status at worker error_kind finish_reason prompt_tokens"
    " completion_tokens cached_tokens queued_s first_token_s total_s batch_size engine model dtype"
    " device seed mean_logprob digests hash",
    "decisions": "query_id seq kind round at digests hash",
    "answers": "query_id seq status asked_at ended_at digests hash",
    "dead_letters": "message_id task queue reason at query_id step_id",
}
WITHOUT_TEXTS = ("rounds", "attempts", "dispatches")
NEVER_REMOVED = ("seals", "sealed", "tombstones")

REFUSAL = "{table} is append-only: what was recorded of a query is never changed or removed"
NO_PERMIT = "NOT EXISTS (SELECT 1 FROM permits WHERE operation = '{operation}')"
POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION colm_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_NARGS > 0 AND EXISTS (SELECT 1 FROM permits WHERE operation = TG_ARGV[0]) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '{refusal} (%)', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER {table}_{name} BEFORE {events} ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change({permit})
"""
SQLITE_TRIGGER = """
CREATE TRIGGER {table}_append_only_{name} BEFORE {events} ON {table}{condition}
BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END
"""


def upgrade() -> None:
    add_hashes()
    create_erasures()
    create_seals()
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    drop_triggers(on_postgresql)
    if on_postgresql:
        op.execute(POSTGRESQL_FUNCTION.format(refusal=REFUSAL.format(table="%")))
    for statement in triggers_on_postgresql() if on_postgresql else triggers_on_sqlite():
        op.execute(statement)


def add_hashes() -> None:
    for table in ("queries", "steps", "outcomes", "decisions", "answers"):
        op.add_column(table, sa.Column("digests", JSON))
        op.add_column(table, sa.Column("salts", JSON))
    for table in ("queries", "rounds", "steps", "attempts", "outcomes", "decisions", "answers"):
        op.add_column(table, sa.Column("hash", sa.Text))
    op.add_column("progress", sa.Column("head", sa.Text))
    never = sa.Column("sealed", sa.Boolean, nullable=False, server_default=sa.text("false"))
    op.add_column("progress", never)
    op.create_index(
        "ix_progress_unsealed",
        "progress",
        ["query_id"],
        postgresql_where=UNSEALED,
        sqlite_where=UNSEALED,
    )
    op.create_index("ix_outcomes_step_id", "outcomes", ["step_id"])


def create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("query_id", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("key", "signature", "hash")),
        sa.ForeignKeyConstraint(["query_id"], ["queries.query_id"], name="fk_erasures_query_id"),
        sa.PrimaryKeyConstraint("query_id", "seq", name="pk_erasures"),
    )
    op.create_table(
        "tombstones",
        sa.Column("query_id", sa.Text, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("head", sa.Text),
        sa.Column("purged_at", TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("key", "signature")),
        sa.PrimaryKeyConstraint("query_id", name="pk_tombstones"),
    )
    op.create_table(
        "permits",
        sa.Column("operation", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("operation", name="pk_permits"),
    )


def create_seals() -> None:
    op.create_table(
        "seals",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("queries", sa.Integer, nullable=False),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("previous", sa.Text),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "signature", "hash")),
        sa.PrimaryKeyConstraint("number", name="pk_seals"),
    )
    op.create_table(
        "sealed",
        sa.Column("seal", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("query_id", sa.Text, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("head", sa.Text),
        sa.ForeignKeyConstraint(["seal"], ["seals.number"], name="fk_sealed_seal"),
        sa.PrimaryKeyConstraint("seal", "position", name="pk_sealed"),
    )
    op.create_index("ix_sealed_query_id", "sealed", ["query_id"])


def drop_triggers(on_postgresql: bool) -> None:
    for table in (*KEPT, *WITHOUT_TEXTS):
        if on_postgresql:
            op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            continue
        for event in ("UPDATE", "DELETE"):
            op.execute(f"DROP TRIGGER {table}_append_only_{event}")


def triggers_on_postgresql() -> Iterator[str]:
    for table in (*KEPT, *WITHOUT_TEXTS, "erasures"):
        changed = update_of(table) + " OR TRUNCATE"
        yield postgresql_trigger(table, "append_only", changed, "")
        yield postgresql_trigger(table, "append_only_delete", "DELETE", "'purge'")
        if table in KEPT:
            yield postgresql_trigger(table, "append_only_update", "UPDATE", "'erase'")
    for table in NEVER_REMOVED:
        yield postgresql_trigger(table, "append_only", "UPDATE OR DELETE OR TRUNCATE", "")


def postgresql_trigger(table: str, name: str, events: str, permit: str) -> str:
    return POSTGRESQL_TRIGGER.format(table=table, name=name, events=events, permit=permit)


def triggers_on_sqlite() -> Iterator[str]:
    for table in (*KEPT, *WITHOUT_TEXTS, "erasures"):
        erased = "erase" if table in KEPT else None
        yield sqlite_trigger(table, "UPDATE", "UPDATE", erased)
        yield sqlite_trigger(table, "DELETE", "DELETE", "purge")
        if table in KEPT:
            yield sqlite_trigger(table, "KEPT", update_of(table), None)
    for table in NEVER_REMOVED:
        yield sqlite_trigger(table, "UPDATE", "UPDATE", None)
        yield sqlite_trigger(table, "DELETE", "DELETE", None)


def sqlite_trigger(table: str, name: str, events: str, operation: str | None) -> str:
    condition = "\nWHEN " + NO_PERMIT.format(operation=operation) if operation else ""
    return SQLITE_TRIGGER.format(
        table=table,
        name=name,
        events=events,
        event=events.partition(" ")[0],
        condition=condition,
        refusal=REFUSAL.format(table=table),
    )


def update_of(table: str) -> str:
    if table not in KEPT:
        return "UPDATE"
    return "UPDATE OF " + ", ".join(f'"{column}"' for column in KEPT[table].split())
