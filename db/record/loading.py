"""Opening a query: its lock first, then all that the record tells of it."""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, select

from colm.db.record.locked_query import SqlLockedQuery
from colm.db.record.query_cache import QueryCache
from colm.db.record.rows import (
    Progress,
    attempt_of,
    decision_of,
    outcome_of,
    query_of,
    split,
    step_of,
)
from colm.db.schema import tables
from colm.models.errors import UnknownQuery
from colm.models.messages import Query
from colm.models.redelivery import Redelivery
from colm.models.strategies.base import Decision, Outcome, QueryState, StepState

#: Joins a step to the outcome that decided it.
DECIDING = and_(tables.outcomes.c.step_id == tables.steps.c.step_id, tables.DECIDES)

# Reading a query after this statement, in READ COMMITTED, sees what its last holder committed.
_LOCK = (
    select(tables.progress, tables.queries)
    .join_from(tables.progress, tables.queries)
    .where(tables.progress.c.query_id == bindparam("id"))
    .with_for_update(of=tables.progress)
)
_STEPS = (
    select(tables.steps, tables.outcomes)
    .join_from(tables.steps, tables.outcomes, DECIDING, isouter=True)
    .where(tables.steps.c.query_id == bindparam("id"))
    .order_by(tables.steps.c.seq)
)
_DECISIONS = (
    select(tables.decisions)
    .where(tables.decisions.c.query_id == bindparam("id"))
    .order_by(tables.decisions.c.seq)
)
_LATE = select(tables.outcomes).where(
    tables.outcomes.c.query_id == bindparam("id"),
    tables.outcomes.c.step_id == bindparam("step"),
    tables.outcomes.c.status == "late",
)
_TRIED = (
    select(tables.attempts)
    .where(
        tables.attempts.c.query_id == bindparam("id"),
        tables.attempts.c.step_id == bindparam("step"),
    )
    .order_by(tables.attempts.c.seq)
)
_REFUSAL = select(tables.answers.c.reason).where(tables.answers.c.query_id == bindparam("id"))


def load(connection: Connection, query_id: str, kept: QueryCache) -> SqlLockedQuery:
    """The query, locked until the transaction ends; read, unless `kept` has it as it stands.

    Raises UnknownQuery if there is none, or if all that is recorded is that it was refused.
    """
    row = connection.execute(_LOCK, {"id": query_id}).one_or_none()
    if row is None:
        raise UnknownQuery(f"no query {query_id} is in the record")
    progress, asked = split(row, tables.progress, tables.queries)
    if asked["clients"] is None:
        reason = connection.scalar(_REFUSAL, {"id": query_id})
        raise UnknownQuery(f"query {query_id} was refused: {reason}")
    del progress["query_id"]
    state = kept.get(query_id, progress["head"])
    if state is None:
        state = _load_state(connection, query_of(asked))

    def late(step_id: str) -> list[Outcome]:
        rows = connection.execute(_LATE, {"id": query_id, "step": step_id})
        return [outcome_of(dict(row._mapping)) for row in rows]

    def tried(step_id: str) -> list[Redelivery]:
        rows = connection.execute(_TRIED, {"id": query_id, "step": step_id})
        return [attempt_of(dict(row._mapping)) for row in rows]

    return SqlLockedQuery(state, Progress(**progress), late=late, tried=tried)


def _load_state(connection: Connection, query: Query) -> QueryState:
    steps = []
    for row in connection.execute(_STEPS, {"id": query.query_id}):
        asked, decided = split(row, tables.steps, tables.outcomes)
        outcome = outcome_of(decided) if decided["status"] else None
        steps.append(StepState(step=step_of(asked), asked_at=asked["asked_at"], outcome=outcome))
    decisions = _load_decisions(connection, query.query_id)
    return QueryState(query=query, steps=tuple(steps), decisions=decisions)


def _load_decisions(connection: Connection, query_id: str) -> tuple[Decision, ...]:
    rows = connection.execute(_DECISIONS, {"id": query_id})
    return tuple(decision_of(dict(row._mapping)) for row in rows)
