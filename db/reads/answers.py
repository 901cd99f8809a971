"""What a waiting caller, `colm queries` and `colm dead` ask of the record.

Reads take no lock and wait for no writer. All may raise TransientError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, Select, bindparam, exists, func, select

from colm.db.connection import autocommit
from colm.db.reads import answers
from colm.db.schema import tables
from colm.models.errors import UnknownQuery
from colm.models.messages import Answer

#: refused: the ask never became a query.
Status = Literal["open", "answered", "failed", "refused"]


@dataclass(frozen=True, kw_only=True)
class AnswerState:
    """Where an ask stands."""

    query_id: str
    #: unknown: the record knows nothing of it (yet), and nothing below is set.
    status: Status | Literal["unknown"]
    question: str | None = None
    strategy: str | None = None
    asked_at: datetime | None = None
    #: When the query is given up; None for a refused ask.
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    #: Of an answered or failed query.
    answer: Answer | None = None
    #: Why it failed or was refused.
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredLetter:
    """A message given up on, as it was recorded."""

    message_id: str
    task: str
    queue: str
    reason: str
    at: datetime
    body: str
    query_id: str | None
    step_id: str | None


_ASKED = tables.queries.c


_ENDED = tables.answers.c


_SUMMARY = select(
    *(_ASKED.query_id, _ASKED.question, _ASKED.strategy, _ASKED.asked_at, _ASKED.deadline_at),
    *(func.coalesce(_ENDED.status, "open").label("status"), _ENDED.reason, _ENDED.ended_at),
)


_ENDED_OR_NOT = tables.queries.outerjoin(tables.answers)


_STANDING = (
    _SUMMARY.add_columns(_ENDED.answer)
    .select_from(_ENDED_OR_NOT)
    .where(_ASKED.query_id == bindparam("id"))
)


_HAS_ENDED = select(exists().where(_ENDED.query_id == bindparam("id")))


def answer_of(engine: Engine, query_id: str) -> AnswerState:
    """Where the ask with this id stands, with its answer once there is one."""
    with autocommit(engine) as connection:
        row = connection.execute(_STANDING, {"id": query_id}).one_or_none()
    if row is None:
        return AnswerState(query_id=query_id, status="unknown")
    fields = dict(row._mapping)
    if fields["answer"] is not None:
        fields["answer"] = Answer.model_validate(fields["answer"])
    return AnswerState(**fields)


def has_ended(engine: Engine, query_id: str) -> bool:
    """Whether the ask is answered, failed or refused: one look at one index."""
    with autocommit(engine) as connection:
        return bool(connection.scalar(_HAS_ENDED, {"id": query_id}))


def recent_queries(
    engine: Engine, limit: int, status: Status | None = None
) -> Sequence[AnswerState]:
    """The latest asks, newest first, without their answers; of one status, or of any."""
    with autocommit(engine) as connection:
        rows = connection.execute(_latest(status).limit(limit))
        return [AnswerState(**row._mapping) for row in rows]


def _latest(status: Status | None) -> Select[Any]:
    """Ordered by the column whose index finds the first rows without sorting the rest."""
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


def dead_letters(engine: Engine, limit: int) -> Sequence[StoredLetter]:
    """The latest messages given up on, newest first."""
    latest = select(tables.dead_letters).order_by(tables.dead_letters.c.at.desc()).limit(limit)
    with autocommit(engine) as connection:
        return [StoredLetter(**row._mapping) for row in connection.execute(latest)]


#: How many of the latest queries an abbreviated id is looked up in.
ABBREVIATED_AMONG = 10_000


def whole_id(engine: Engine, query: str) -> str:
    """The id that `query` begins; raises UnknownQuery when none or several do."""
    if answers.answer_of(engine, query).status != "unknown":
        return query
    latest = answers.recent_queries(engine, ABBREVIATED_AMONG)
    found = [s.query_id for s in latest if s.query_id.startswith(query)]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} queries begin with" if found else "no query begins with"
    raise UnknownQuery(f"{problem} {query!r}; 'colm queries' lists them")
