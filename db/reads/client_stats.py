"""Recorded drafts and refinements by client, for `colm.models.client_reliability`."""

from __future__ import annotations

from sqlalchemy import Engine, bindparam, exists, func, select

from colm.db.connection import autocommit
from colm.db.record.loading import DECIDING_OUTCOME
from colm.db.schema import tables
from colm.models.client_reliability import PROBE, SITE_FAILURES, Part

_LATEST = (
    select(tables.answers.c.query_id)
    .where(tables.answers.c.status == "answered", tables.answers.c.query_id.not_like(f"{PROBE}%"))
    .order_by(tables.answers.c.asked_at.desc())
    .limit(bindparam("queries"))
)
_LATE_OUTCOMES = tables.outcomes.alias("late_outcomes")
_LATE = exists().where(
    _LATE_OUTCOMES.c.query_id == tables.steps.c.query_id,
    _LATE_OUTCOMES.c.step_id == tables.steps.c.step_id,
    _LATE_OUTCOMES.c.status == "late",
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
    .join_from(tables.steps, tables.outcomes, DECIDING_OUTCOME, isouter=True)
    .where(
        tables.steps.c.query_id.in_(_LATEST),
        tables.steps.c.role == "client",
        tables.steps.c.act.in_(("draft", "refine")),
        func.coalesce(tables.outcomes.c.error_kind, "").not_in(SITE_FAILURES),
    )
    .order_by(tables.steps.c.query_id, tables.steps.c.seq)
)


def client_parts(engine: Engine, queries: int) -> list[Part]:
    """Drafts and refinements of the latest `queries` answered queries. Raises TransientError."""
    with autocommit(engine) as connection:
        rows = connection.execute(_PARTS, {"queries": queries})
        return [Part(**row._mapping) for row in rows]
