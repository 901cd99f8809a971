"""What a waiting caller, `colm queries` and `colm dead` ask of the record.

Reads take no lock and wait for no writer. All may raise TransientError.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from weakref import WeakKeyDictionary

import psycopg2
from psycopg2 import sql
from sqlalchemy import (
    Engine,
    Pool,
    PoolProxiedConnection,
    QueuePool,
    Select,
    bindparam,
    event,
    exists,
    func,
    select,
)

from db import tables
from db.engine import glancing, postgresql_options
from db.failures import unusable
from db.record import ANSWERS_CHANNEL
from models.messages import Answer

#: How often SQLite, which tells nobody of a commit, is asked.
POLL_S = 0.010
#: How often PostgreSQL is asked although it said nothing: bounds what a lost connection costs
#: where the network hides the loss.
RECHECK_S = 10.0

#: Connections to wait on, by the engine they go with: to open one takes longer than most answers.
_LISTENERS: WeakKeyDictionary[Engine, Pool] = WeakKeyDictionary()

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
    with glancing(engine) as connection:
        row = connection.execute(_STANDING, {"id": query_id}).one_or_none()
    if row is None:
        return AnswerState(query_id=query_id, status="unknown")
    fields = dict(row._mapping)
    if fields["answer"] is not None:
        fields["answer"] = Answer.model_validate(fields["answer"])
    return AnswerState(**fields)


def has_ended(engine: Engine, query_id: str) -> bool:
    """Whether the ask is answered, failed or refused: one look at one index."""
    with glancing(engine) as connection:
        return bool(connection.scalar(_HAS_ENDED, {"id": query_id}))


def wait_for_answer(engine: Engine, query_id: str, timeout: float) -> bool:
    """Return True as soon as the ask has ended, False after `timeout` seconds without.

    Does not care whether the query is known yet. On PostgreSQL each waiting call holds a connection
    of its own, apart from the engine's pool. Raises TransientError.
    """
    until = time.monotonic() + timeout
    if has_ended(engine, query_id):
        return True
    if engine.dialect.name == "postgresql":
        return _listen(engine, query_id, until)
    while not has_ended(engine, query_id):
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(POLL_S, left))
    return True


def recent_queries(
    engine: Engine, limit: int, status: Status | None = None
) -> Sequence[AnswerState]:
    """The latest asks, newest first, without their answers; of one status, or of any."""
    with glancing(engine) as connection:
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
    with glancing(engine) as connection:
        return [StoredLetter(**row._mapping) for row in connection.execute(latest)]


def _listen(engine: Engine, query_id: str, until: float) -> bool:
    with _listening(engine) as connection:
        # Looked at only now: an answer committed before LISTEN would never be told.
        while not has_ended(engine, query_id):
            left = until - time.monotonic()
            if left <= 0:
                return False
            _hear_of(connection, query_id, min(until, time.monotonic() + RECHECK_S))
    return True


def _hear_of(connection: Any, query_id: str, until: float) -> None:
    """Return when PostgreSQL tells of this query's answer, or at `until`."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0 and selector.select(left):
            connection.poll()
            told = {notice.payload for notice in connection.notifies}
            connection.notifies.clear()
            if query_id in told:
                return


@contextmanager
def _listening(engine: Engine) -> Iterator[Any]:
    try:
        kept = _listeners(engine).connect()
        try:
            _say(kept, sql.SQL("LISTEN {}").format(sql.Identifier(ANSWERS_CHANNEL)))
            yield kept.driver_connection
            # Nobody reads what an idle connection hears, and PostgreSQL would keep it all.
            _say(kept, sql.SQL("UNLISTEN *"))
        except BaseException:
            kept.invalidate()
            raise
        kept.close()
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise unusable(engine.url, error) from error


def _say(kept: PoolProxiedConnection, statement: sql.Composable) -> None:
    with kept.cursor() as cursor:  # type: ignore[attr-defined]  # psycopg2's closes itself
        cursor.execute(statement)


def _listeners(engine: Engine) -> Pool:
    """As many connections as there are waiting calls; a few are kept for the next."""
    found = _LISTENERS.get(engine)
    if found is None:
        found = _LISTENERS.setdefault(engine, _new_listeners(engine))
        event.listen(engine, "engine_disposed", lambda _engine: found.dispose())
    return found


def _new_listeners(engine: Engine) -> Pool:
    _args, settings = engine.dialect.create_connect_args(engine.url)

    def connect() -> Any:
        ours = postgresql_options("colm waiting", engine.url)
        connection = psycopg2.connect(**{**settings, **ours})
        connection.autocommit = True
        return connection

    return QueuePool(connect, max_overflow=-1, pre_ping=True, dialect=engine.dialect)
