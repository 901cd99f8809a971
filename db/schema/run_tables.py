"""The tables of evaluation: runs, what came of each of their units, steps that queries share.

A run is told by append-only rows too: what was ordered, what happened to it, one row for every unit
that is done. `run_states` is the one table of these whose rows change: who works on a run now.
Nothing here says anything of a query that `colm.db.schema.tables` does not.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from colm.db.columns import Json, PlainText, UtcDateTime
from colm.db.schema.tables import metadata as metadata
from colm.db.schema.triggers import append_only_triggers

#: Of a row in `shared_steps`: the step that is generated for the others.
OWNS = text("step_id = owner")


def _run(*, primary_key: bool = True) -> Column[str]:
    return Column("run", PlainText, ForeignKey("runs.run"), primary_key=primary_key, nullable=False)


#: What was ordered.
runs = Table(
    "runs",
    metadata,
    Column("run", PlainText, primary_key=True),
    Column("config", Json, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
)
Index(None, runs.c.ordered_at)

#: Where a run stands. `owner` is the evaluator at work on it, `owned_until` when it is given up.
run_states = Table(
    "run_states",
    metadata,
    _run(),
    Column("state", PlainText, nullable=False),
    Column("note", PlainText, nullable=False, server_default=""),
    Column("units", Integer),
    Column("data", PlainText),
    Column("owner", PlainText),
    Column("owned_until", UtcDateTime),
    CheckConstraint("state IN ('open', 'paused', 'cancelled', 'failed', 'done')", name="state"),
)

#: What happened to a run as a whole: taken, given back, paused, resumed, cancelled, done.
run_events = Table(
    "run_events",
    metadata,
    _run(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("what", PlainText, nullable=False),
    Column("by", PlainText, nullable=False),
)

#: A unit that is done: one strategy of the run on one example under one seed.
units = Table(
    "units",
    metadata,
    _run(),
    Column("entry", PlainText, primary_key=True),
    Column("example", PlainText, primary_key=True),
    Column("seed", BigInteger, primary_key=True, autoincrement=False),
    Column("query_id", PlainText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("status", PlainText, nullable=False),
    Column("extracted", PlainText),
    Column("reason", PlainText),
    Column("clients", Json, nullable=False),
    Column("detail", Json, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("ledger", Json, nullable=False),
    Column("seconds", Double, nullable=False),
    CheckConstraint(
        "status IN ('correct', 'wrong', 'unparsable', 'error', 'failed')", name="status"
    ),
)

#: Steps of one run that ask for the same completion: `owner` is generated, the others wait for it.
shared_steps = Table(
    "shared_steps",
    metadata,
    Column("step_id", PlainText, primary_key=True),
    Column("run", PlainText, nullable=False),
    Column("key", PlainText, nullable=False),
    Column("owner", PlainText, nullable=False),
)
Index("uq_shared_steps_owner", shared_steps.c.run, shared_steps.c.key, unique=True,
      postgresql_where=OWNS, sqlite_where=OWNS)  # fmt: skip
Index(None, shared_steps.c.owner)
Index(None, shared_steps.c.run)

#: What a unit quotes of its query, and an erasure replaces.
UNIT_TEXTS = ("extracted", "reason", "detail")
#: Of a run that may still ask, and hand what one query said to another.
GOING_ON = run_states.c.state.not_in(("cancelled", "done"))
#: All of them: what `colm.db.schema.tables.metadata` holds beside the record once this module is
#: imported.
RUN_TABLES = (runs, run_states, run_events, units, shared_steps)

for _table in (runs, run_events):
    append_only_triggers(_table)
append_only_triggers(units, erasable=UNIT_TEXTS)
append_only_triggers(shared_steps, purged=True)


def once(connection: Connection, table: Table) -> Any:
    """An INSERT into `table` that leaves a row of the same key as it is; `rowcount` tells."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
