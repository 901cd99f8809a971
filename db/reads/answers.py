"""Reads for waiting callers and the CLI. They take no lock. All may raise TransientError."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, Select, bindparam, exists, func, select

from colm.db.connection import autocommit
from colm.db.schema import tables
from colm.models.dead_letter import DeadLetter
from colm.models.errors import UnknownQuery
from colm.models.messages import Answer

#: refused: the question never became a query.
Status = Literal["open", "answered", "failed", "refused"]


@dataclass(frozen=True, kw_only=True)
class AnswerState:
    """The state of a query."""

    query_id: str
    #: unknown: not recorded; the fields below are None.
    status: Status | Literal["unknown"]
    question: str | None = None
    strategy: str | None = None
    asked_at: datetime | None = None
    #: The query's deadline; None if it was refused.
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    answer: Answer | None = None
    reason: str | None = None


_ASKED, _ENDED = tables.queries.c, tables.answers.c
_SUMMARY = select(
    *(_ASKED.query_id, _ASKED.question, _ASKED.strategy, _ASKED.asked_at, _ASKED.deadline_at),
    *(func.coalesce(_ENDED.status, "open").label("status"), _ENDED.reason, _ENDED.ended_at),
)
_ENDED_OR_NOT = tables.queries.outerjoin(tables.answers)
_STATE = (
    _SUMMARY.add_columns(_ENDED.answer)
    .select_from(_ENDED_OR_NOT)
    .where(_ASKED.query_id == bindparam("id"))
)
_HAS_ENDED = select(exists().where(_ENDED.query_id == bindparam("id")))


def answer_of(engine: Engine, query_id: str) -> AnswerState:
    """The state of the query with this id, with its answer if it has one."""
    with autocommit(engine) as connection:
        row = connection.execute(_STATE, {"id": query_id}).one_or_none()
    if row is None:
        return AnswerState(query_id=query_id, status="unknown")
    fields = dict(row._mapping)
    if fields["answer"] is not None:
        fields["answer"] = Answer.model_validate(fields["answer"])
    return AnswerState(**fields)


def has_ended(engine: Engine, query_id: str) -> bool:
    """Whether the query is answered, failed or refused: one index lookup."""
    with autocommit(engine) as connection:
        return bool(connection.scalar(_HAS_ENDED, {"id": query_id}))


def completed_of(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """The ended ones of these queries."""
    ended = select(_ENDED.query_id).where(_ENDED.query_id.in_(tuple(query_ids)))
    with autocommit(engine) as connection:
        return set(connection.scalars(ended))


def recorded_of(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """The recorded ones of these queries, ended or not."""
    recorded = select(_ASKED.query_id).where(_ASKED.query_id.in_(tuple(query_ids)))
    with autocommit(engine) as connection:
        return set(connection.scalars(recorded))


def open_queries(engine: Engine, run: str) -> list[str]:
    """The queries of a run that have not ended."""
    is_open = _ASKED.query_id.in_(select(tables.progress.c.query_id).where(tables.OPEN))
    with autocommit(engine) as connection:
        return list(connection.scalars(select(_ASKED.query_id).where(is_open, _ASKED.run == run)))


def recent_queries(
    engine: Engine, limit: int, status: Status | None = None
) -> Sequence[AnswerState]:
    """The latest queries, newest first, without their answers; of one status or of any."""
    with autocommit(engine) as connection:
        rows = connection.execute(_latest(status).limit(limit))
        return [AnswerState(**row._mapping) for row in rows]


def _latest(status: Status | None) -> Select[Any]:
    # Ordered by an indexed column: LIMIT needs no sort.
    match status:
        case None:
            return _SUMMARY.select_from(_ENDED_OR_NOT).order_by(_ASKED.asked_at.desc())
        case "open":
            open_or_not = _ENDED_OR_NOT.join(tables.progress)
            latest = _SUMMARY.select_from(open_or_not).order_by(_ASKED.asked_at.desc())
            return latest.where(tables.OPEN)
        case _:
            ended = _SUMMARY.join_from(tables.answers, tables.queries)
            return ended.where(_ENDED.status == status).order_by(_ENDED.asked_at.desc())


def dead_letters(engine: Engine, limit: int) -> Sequence[DeadLetter]:
    """The latest dead letters, newest first."""
    latest = select(tables.dead_letters).order_by(tables.dead_letters.c.at.desc()).limit(limit)
    with autocommit(engine) as connection:
        return [DeadLetter(**row._mapping) for row in connection.execute(latest)]


#: An abbreviated id is looked up among this many of the latest queries.
ABBREVIATED_AMONG = 10_000


def whole_id(engine: Engine, query: str) -> str:
    """The one id that begins with `query`. Raises UnknownQuery for none or several."""
    if answer_of(engine, query).status != "unknown":
        return query
    latest = recent_queries(engine, ABBREVIATED_AMONG)
    matches = [s.query_id for s in latest if s.query_id.startswith(query)]
    if len(matches) == 1:
        return matches[0]
    problem = f"{len(matches)} queries begin with" if matches else "no query begins with"
    raise UnknownQuery(f"{problem} {query!r}; 'colm queries' lists them")
