"""Tables of evaluation: runs, their units, steps that queries share.

Append-only, except `run_states`, which holds the current evaluator of a run.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    text,
)

from colm.db.columns import Json, PlainText, UtcDateTime
from colm.db.schema.tables import metadata as metadata
from colm.db.schema.triggers import append_only_triggers

#: Of a row in `shared_steps`: its step is the generated one.
OWNS = text("step_id = owner")


def _run(*, primary_key: bool = True) -> Column[str]:
    return Column("run", PlainText, ForeignKey("runs.run"), primary_key=primary_key, nullable=False)


#: Runs as ordered.
runs = Table(
    "runs",
    metadata,
    Column("run", PlainText, primary_key=True),
    Column("config", Json, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
)
Index(None, runs.c.ordered_at)

#: State of a run; `owner` is its evaluator, whose lease ends at `owned_until`.
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

#: Events of a run: taken, given back, paused, resumed, cancelled, done.
run_events = Table(
    "run_events",
    metadata,
    _run(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("what", PlainText, nullable=False),
    Column("by", PlainText, nullable=False),
)

#: Completed units: one strategy on one example under one seed.
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

#: Texts of a unit, quoted from its query: an erasure replaces them.
UNIT_TEXTS = ("extracted", "reason", "detail")
#: Of a run that may still ask and share completions among its queries.
RUN_IS_OPEN = run_states.c.state.not_in(("cancelled", "done"))
RUN_TABLES = (runs, run_states, run_events, units, shared_steps)

for _table in (runs, run_events):
    append_only_triggers(_table)
append_only_triggers(units, erasable=UNIT_TEXTS)
append_only_triggers(shared_steps, purged=True)
