"""Tables of the record.

Append-only rows hold a query's life: the question, steps, outcomes, decisions, the answer. Each has
a `seq`, gap-free within its query across these tables, taken under the lock on the query's row in
`progress`, and a `hash` over itself and its predecessor (`colm.db.integrity.hash_chain`). Only rows
of `progress` change. `dispatches` and `dead_letters` are append-only but outside the chain.
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

# Conditions of partial indexes. SQLite uses such an index only for a query with the same text.

#: Of a query in `progress`: no answer is recorded.
OPEN = text("open")
#: Of a row in `outcomes`: the deciding one of its step.
DECIDES = text("status <> 'late'")
#: Of an ended query in `progress`: no checkpoint covers its latest row.
UNCOVERED = text("NOT open AND NOT sealed")
#: Questions. A refused one has no plan: columns after `asked_at` are null.
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

#: State of a query; a coordinator locks its row.
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
    "ix_progress_unsealed", progress.c.query_id, postgresql_where=UNCOVERED, sqlite_where=UNCOVERED
)

#: Rounds, from their first step on.
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

#: Steps with their whole prompt.
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

#: Outcomes of steps: one row decides; late ones change nothing.
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
    *text_digests(),
    row_hash(),
    CheckConstraint("status IN ('completed', 'failed', 'expired', 'late')", name="status"),
)
# For the foreign-key check when a purge deletes steps.
Index(None, outcomes.c.step_id)
Index(
    "uq_outcomes_deciding",
    outcomes.c.step_id,
    unique=True,
    postgresql_where=DECIDES,
    sqlite_where=DECIDES,
)

#: Attempts at steps that may have killed a worker (`colm.models.messages.Attempt`).
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

#: Decisions of the strategy.
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

#: Ends of queries. A refused question has a reason and no answer.
answers = Table(
    "answers",
    metadata,
    of_query(primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("status", PlainText, nullable=False),
    Column("reason", PlainText),
    Column("answer", Json),
    # Repeated from the query for the index of the latest queries of a status.
    Column("asked_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    *text_digests(),
    row_hash(),
    CheckConstraint("status IN ('answered', 'failed', 'refused')", name="status"),
)
Index(None, answers.c.status, answers.c.asked_at)

#: Publications of a step's message.
dispatches = Table(
    "dispatches",
    metadata,
    Column("step_id", PlainText, ForeignKey("steps.step_id"), primary_key=True),
    Column("at", UtcDateTime, primary_key=True),
)

#: Messages that were rejected for good.
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

#: Tables of a query's chain, in the order of insertion.
CHAINED = (queries, rounds, steps, attempts, outcomes, decisions, answers, erasures)

for _table in CHAINED[:-1]:
    _texts = TEXTS[_table.name]
    append_only_triggers(_table, purged=True, erasable=(*_texts, "salts") if _texts else ())
append_only_triggers(dispatches, purged=True)
append_only_triggers(dead_letters, purged=True, erasable=("body",))
