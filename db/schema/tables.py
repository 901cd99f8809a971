"""The tables of the record.

A query's life is told by append-only rows: what was asked, the steps, what became of them, what was
decided, the answer. Each carries a `seq`: gap-free within its query, across these tables, taken
under the lock on the query's row in `progress`, so that the rows of a query have one order and a
missing one can be seen; and a `hash` over itself and the row before
(`colm.db.integrity.hash_chain`). `progress` is the only table with rows that change. `dispatches`
and `dead_letters` are append-only too but tell of the transport, not of the query: they have no
`seq` and are in no chain.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)

from colm.db.columns import Json, PlainText, UtcDateTime
from colm.db.integrity.hash_chain import TEXTS
from colm.db.schema.audit_tables import erasures
from colm.db.schema.metadata import metadata as metadata
from colm.db.schema.metadata import of_query, row_hash, text_digests
from colm.db.schema.triggers import append_only_triggers

# The conditions of partial indexes. Queries use these very words: SQLite takes an index for the
# words in which it was made and for no others, `open = 1` for one.

#: Of a query in `progress`: no answer is recorded yet.
OPEN = text("open")
#: Of a row in `outcomes`: it decides what became of its step.
DECIDES = text("status <> 'late'")
#: Of an ended query in `progress`: it has grown since its last seal, or has none.
UNSEALED = text("NOT open AND NOT sealed")


#: What was asked. An ask that was refused has no plan: everything after `asked_at` is null.
queries = Table(
    "queries",
    metadata,
    Column("query_id", PlainText, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("question", PlainText, nullable=False),
    Column("strategy", PlainText, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("deadline_at", UtcDateTime),
    Column("options", Json),
    Column("clients", Json),
    Column("server", Json),
    Column("deadlines", Json),
    Column("seed", BigInteger),
    Column("lane", PlainText, nullable=False, server_default="interactive"),
    Column("run", PlainText),
    Column("images", Json),
    *text_digests(),
    row_hash(),
)
Index(None, queries.c.asked_at)

#: Where a query stands: locked while a coordinator works on it, and the only rows that change.
progress = Table(
    "progress",
    metadata,
    of_query(primary_key=True),
    Column("open", Boolean, nullable=False),
    Column("wake_at", UtcDateTime, nullable=False),
    Column("next_seq", Integer, nullable=False),
    #: The hash of the latest row.
    Column("head", PlainText),
    Column("sealed", Boolean, nullable=False, server_default=text("false")),
)
Index(None, progress.c.wake_at, postgresql_where=OPEN, sqlite_where=OPEN)
Index(
    "ix_progress_unsealed",
    progress.c.query_id,
    postgresql_where=UNSEALED,
    sqlite_where=UNSEALED,
)

#: A round, from the moment that its first step is asked.
rounds = Table(
    "rounds",
    metadata,
    of_query(primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    row_hash(),
    UniqueConstraint("query_id", "seq"),
)

#: What was asked of a participant: the whole prompt.
steps = Table(
    "steps",
    metadata,
    Column("step_id", PlainText, primary_key=True),
    of_query(),
    Column("seq", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("act", PlainText, nullable=False),
    Column("participant", PlainText, nullable=False),
    Column("index", Integer, nullable=False),
    Column("role", PlainText, nullable=False),
    Column("messages", Json, nullable=False),
    Column("prompt_version", PlainText, nullable=False),
    Column("sampling", Json, nullable=False),
    Column("choices", Json),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("deadline_at", UtcDateTime, nullable=False),
    Column("lane", PlainText, nullable=False, server_default="interactive"),
    *text_digests(),
    row_hash(),
    UniqueConstraint("query_id", "seq"),
    UniqueConstraint("query_id", "round", "act", "participant", "index"),
)

#: What became of a step: one row decides, any number came late and changed nothing.
outcomes = Table(
    "outcomes",
    metadata,
    of_query(primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("step_id", PlainText, ForeignKey("steps.step_id"), nullable=False),
    Column("status", PlainText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("worker", PlainText, nullable=False),
    Column("error_kind", PlainText),
    Column("error_reason", PlainText),
    Column("text", PlainText),
    Column("finish_reason", PlainText),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("queued_s", Double),
    Column("first_token_s", Double),
    Column("total_s", Double),
    Column("batch_size", BigInteger),
    Column("engine", PlainText),
    Column("model", PlainText),
    Column("dtype", PlainText),
    Column("device", PlainText),
    Column("seed", BigInteger),
    Column("mean_logprob", Double),
    Column("choice_logprobs", Json),
    Column("thought", PlainText),
    Column("adapter", PlainText),
    *text_digests(),
    row_hash(),
    CheckConstraint("status IN ('completed', 'failed', 'expired', 'late')", name="status"),
)
# A purge removes steps, and the database then looks for outcomes that refer to them.
Index(None, outcomes.c.step_id)
# At most one row a step decides.
Index(
    "uq_outcomes_deciding",
    outcomes.c.step_id,
    unique=True,
    postgresql_where=DECIDES,
    sqlite_where=DECIDES,
)

#: What was told of a step that may have killed a worker (`colm.models.messages.Attempt`).
attempts = Table(
    "attempts",
    metadata,
    of_query(primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("step_id", PlainText, ForeignKey("steps.step_id"), nullable=False),
    Column("attempt_id", PlainText, nullable=False),
    Column("kind", PlainText, nullable=False),
    Column("worker", PlainText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    row_hash(),
    UniqueConstraint("attempt_id"),
    CheckConstraint("kind IN ('returned', 'alone')", name="kind"),
)
Index(None, attempts.c.step_id)

#: What the strategy decided, in words and in data.
decisions = Table(
    "decisions",
    metadata,
    of_query(primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", PlainText, nullable=False),
    Column("round", Integer, nullable=False),
    Column("reason", PlainText, nullable=False),
    Column("detail", Json, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    *text_digests(),
    row_hash(),
)

#: What ended a query. A refused ask has a reason and no answer document.
answers = Table(
    "answers",
    metadata,
    of_query(primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("status", PlainText, nullable=False),
    Column("reason", PlainText),
    Column("answer", Json),
    # The query's own, repeated for the index: the latest queries of one status.
    Column("asked_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    *text_digests(),
    row_hash(),
    CheckConstraint("status IN ('answered', 'failed', 'refused')", name="status"),
)
Index(None, answers.c.status, answers.c.asked_at)

#: A step's message is in its queue: one row each time that it was published.
dispatches = Table(
    "dispatches",
    metadata,
    Column("step_id", PlainText, ForeignKey("steps.step_id"), primary_key=True),
    Column("at", UtcDateTime, primary_key=True),
)

#: A message given up on.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("message_id", PlainText, primary_key=True),
    Column("task", PlainText, nullable=False),
    Column("queue", PlainText, nullable=False),
    Column("reason", PlainText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("body", PlainText, nullable=False),
    Column("query_id", PlainText),
    Column("step_id", PlainText),
)
Index(None, dead_letters.c.at)
Index(None, dead_letters.c.query_id)

#: The rows of a query's life, in the order in which they may be inserted.
CHAINED = (queries, rounds, steps, attempts, outcomes, decisions, answers, erasures)

for _table in CHAINED[:-1]:
    _texts = TEXTS[_table.name]
    append_only_triggers(_table, purged=True, erasable=(*_texts, "salts") if _texts else ())
append_only_triggers(dispatches, purged=True)
append_only_triggers(dead_letters, purged=True, erasable=("body",))
