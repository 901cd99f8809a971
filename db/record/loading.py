"""Opening a query: lock first, then read."""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, select

from colm.db.record.locked_query import SqlLockedQuery
from colm.db.record.query_cache import QueryCache
from colm.db.record.rows import (
    QueryProgress,
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

#: Join of a step to its deciding outcome.
DECIDING_OUTCOME = and_(tables.outcomes.c.step_id == tables.steps.c.step_id, tables.DECIDES)

# In READ COMMITTED, statements after this one see the commit of the lock's last holder.
_LOCK = (
    select(tables.progress, tables.queries)
    .join_from(tables.progress, tables.queries)
    .where(tables.progress.c.query_id == bindparam("id"))
    .with_for_update(of=tables.progress)
)
_STEPS = (
    select(tables.steps, tables.outcomes)
    .join_from(tables.steps, tables.outcomes, DECIDING_OUTCOME, isouter=True)
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
_REDELIVERIES = (
    select(tables.attempts)
    .where(
        tables.attempts.c.query_id == bindparam("id"),
        tables.attempts.c.step_id == bindparam("step"),
    )
    .order_by(tables.attempts.c.seq)
)
_REFUSAL = select(tables.answers.c.reason).where(tables.answers.c.query_id == bindparam("id"))


def load(connection: Connection, query_id: str, cache: QueryCache) -> SqlLockedQuery:
    """Lock the query until the transaction ends; read it unless `cache` has its current state.

    Raises UnknownQuery if it is not recorded or was refused.
    """
    row = connection.execute(_LOCK, {"id": query_id}).one_or_none()
    if row is None:
        raise UnknownQuery(f"no query {query_id} is in the record")
    progress, query_fields = split(row, tables.progress, tables.queries)
    if query_fields["clients"] is None:
        reason = connection.scalar(_REFUSAL, {"id": query_id})
        raise UnknownQuery(f"query {query_id} was refused: {reason}")
    del progress["query_id"]
    state = cache.get(query_id, progress["head"])
    if state is None:
        state = _load_state(connection, query_of(query_fields))

    def late(step_id: str) -> list[Outcome]:
        rows = connection.execute(_LATE, {"id": query_id, "step": step_id})
        return [outcome_of(dict(row._mapping)) for row in rows]

    def redeliveries(step_id: str) -> list[Redelivery]:
        rows = connection.execute(_REDELIVERIES, {"id": query_id, "step": step_id})
        return [attempt_of(dict(row._mapping)) for row in rows]

    return SqlLockedQuery(state, QueryProgress(**progress), late=late, redeliveries=redeliveries)


def _load_state(connection: Connection, query: Query) -> QueryState:
    steps = []
    for row in connection.execute(_STEPS, {"id": query.query_id}):
        step_fields, decided = split(row, tables.steps, tables.outcomes)
        outcome = outcome_of(decided) if decided["status"] else None
        steps.append(
            StepState(step=step_of(step_fields), asked_at=step_fields["asked_at"], outcome=outcome)
        )
    decisions = _load_decisions(connection, query.query_id)
    return QueryState(query=query, steps=tuple(steps), decisions=decisions)


def _load_decisions(connection: Connection, query_id: str) -> tuple[Decision, ...]:
    rows = connection.execute(_DECISIONS, {"id": query_id})
    return tuple(decision_of(dict(row._mapping)) for row in rows)
