"""Evaluation runs, their units, and steps that several queries share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
OWNS = sa.text("step_id = owner")
STATES = "state IN ('open', 'paused', 'cancelled', 'failed', 'done')"
STATUSES = "status IN ('correct', 'wrong', 'unparsable', 'error', 'failed')"
REFUSAL = "{table} is append-only: what was recorded of a query is never changed or removed"
POSTGRESQL_TRIGGER = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER {table}_append_only_{event} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END
"""
#: The columns of a unit that an erasure leaves as they are.
UNIT_KEPT = (
    '"run", "entry", "example", "seed", "query_id", "at", "status", "clients",'
    ' "prompt_tokens", "completion_tokens", "ledger", "seconds"'
)
_FUNCTION = "FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change"
_ABORT = "BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END"
_UNLESS = "WHEN NOT EXISTS (SELECT 1 FROM permits WHERE operation = '{operation}')"


def _refusing(table: str, event: str, operation: str = "") -> str:
    abort = _ABORT.format(refusal=REFUSAL.format(table=table), event=event)
    return f"{_UNLESS.format(operation=operation)}\n{abort}" if operation else f"\n{abort}"


#: A purge removes what was shared of a query, an erasure what a unit quotes of it
#: (colm.db.schema.triggers).
_PERMITTING = {
    "postgresql": (
        "CREATE TRIGGER shared_steps_append_only BEFORE UPDATE OR TRUNCATE ON shared_steps"
        f" {_FUNCTION}()",
        "CREATE TRIGGER shared_steps_append_only_delete BEFORE DELETE ON shared_steps"
        f" {_FUNCTION}('purge')",
        f"CREATE TRIGGER units_append_only BEFORE UPDATE OF {UNIT_KEPT} OR TRUNCATE ON units"
        f" {_FUNCTION}()",
        f"CREATE TRIGGER units_append_only_delete BEFORE DELETE ON units {_FUNCTION}()",
        f"CREATE TRIGGER units_append_only_update BEFORE UPDATE ON units {_FUNCTION}('erase')",
    ),
    "sqlite": (
        "CREATE TRIGGER shared_steps_append_only_UPDATE BEFORE UPDATE ON shared_steps"
        + _refusing("shared_steps", "UPDATE"),
        "CREATE TRIGGER shared_steps_append_only_DELETE BEFORE DELETE ON shared_steps\n"
        + _refusing("shared_steps", "DELETE", "purge"),
        "CREATE TRIGGER units_append_only_UPDATE BEFORE UPDATE ON units\n"
        + _refusing("units", "UPDATE", "erase"),
        "CREATE TRIGGER units_append_only_DELETE BEFORE DELETE ON units"
        + _refusing("units", "DELETE"),
        f"CREATE TRIGGER units_append_only_KEPT BEFORE UPDATE OF {UNIT_KEPT} ON units"
        + _refusing("units", "UPDATE"),
    ),
}


def upgrade() -> None:
    _create_runs()
    _create_units()
    _create_shared_steps()
    for table in ("runs", "run_events"):
        if op.get_bind().dialect.name == "postgresql":
            op.execute(POSTGRESQL_TRIGGER.format(table=table))
            continue
        for event in ("UPDATE", "DELETE"):
            refusal = REFUSAL.format(table=table)
            op.execute(SQLITE_TRIGGER.format(table=table, event=event, refusal=refusal))
    statements = _PERMITTING[op.get_bind().dialect.name]
    for statement in statements:
        op.execute(statement)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("ordered_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_runs"),
    )
    op.create_index("ix_runs_ordered_at", "runs", ["ordered_at"])
    op.create_table(
        "run_states",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("units", sa.Integer),
        sa.Column("data", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("owned_until", TIME),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name="fk_run_states_run"),
        sa.PrimaryKeyConstraint("run", name="pk_run_states"),
        sa.CheckConstraint(STATES, name="state"),
    )
    op.create_table(
        "run_events",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name="fk_run_events_run"),
        sa.PrimaryKeyConstraint("run", "seq", name="pk_run_events"),
    )


def _create_units() -> None:
    op.create_table(
        "units",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.Column("example", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("query_id", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("extracted", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("clients", JSON, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("ledger", JSON, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name="fk_units_run"),
        sa.PrimaryKeyConstraint("run", "entry", "example", "seed", name="pk_units"),
        sa.CheckConstraint(STATUSES, name="status"),
    )


def _create_shared_steps() -> None:
    op.create_table(
        "shared_steps",
        sa.Column("step_id", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("step_id", name="pk_shared_steps"),
    )
    op.create_index(
        "uq_shared_steps_owner",
        "shared_steps",
        ["run", "key"],
        unique=True,
        postgresql_where=OWNS,
        sqlite_where=OWNS,
    )
    op.create_index("ix_shared_steps_owner", "shared_steps", ["owner"])
    op.create_index("ix_shared_steps_run", "shared_steps", ["run"])
