"""What is recorded of the clients in the latest queries, for `colm.models.client_reliability`."""

from __future__ import annotations

from sqlalchemy import Engine, and_, bindparam, exists, func, select

from colm.db.connection import autocommit
from colm.db.schema import tables
from colm.models.client_reliability import PROBE, SITE_FAILURES, Part

_LATEST = (
    select(tables.answers.c.query_id)
    .where(
        tables.answers.c.status == "answered",
        tables.answers.c.query_id.not_like(f"{PROBE}%"),
    )
    .order_by(tables.answers.c.asked_at.desc())
    .limit(bindparam("queries"))
)
_DECIDED = and_(tables.outcomes.c.step_id == tables.steps.c.step_id, tables.DECIDES)
_LATE_ONES = tables.outcomes.alias("late_ones")
_LATE = exists().where(
    _LATE_ONES.c.query_id == tables.steps.c.query_id,
    _LATE_ONES.c.step_id == tables.steps.c.step_id,
    _LATE_ONES.c.status == "late",
)
_PARTS = (
    select(
        tables.steps.c.query_id,
        tables.steps.c.participant.label("client"),
        tables.steps.c.act,
        tables.steps.c.round,
        tables.outcomes.c.status,
        tables.outcomes.c.at,
        tables.outcomes.c.text,
        tables.outcomes.c.total_s.label("seconds"),
        _LATE.label("late"),
    )
    .join_from(tables.steps, tables.outcomes, _DECIDED, isouter=True)
    .where(
        tables.steps.c.query_id.in_(_LATEST),
        tables.steps.c.role == "client",
        tables.steps.c.act.in_(("draft", "refine")),
        func.coalesce(tables.outcomes.c.error_kind, "").not_in(SITE_FAILURES),
    )
    .order_by(tables.steps.c.query_id, tables.steps.c.seq)
)


def client_parts(engine: Engine, queries: int) -> list[Part]:
    """The drafts and refinements asked in the latest `queries` that were answered.

    Erased texts are none. Raises TransientError.
    """
    with autocommit(engine) as connection:
        rows = connection.execute(_PARTS, {"queries": queries})
        return [Part(**row._mapping) for row in rows]
