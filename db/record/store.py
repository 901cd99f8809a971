"""`SqlRecord`: the append-only record in a database, a `colm.tasks.interfaces.QueryStore`.

A query changes under the lock on its row in `progress`, in one transaction that ends with the
`with` block. Every row is chained to its predecessor (`colm.db.integrity.hash_chain`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, exists, func, insert, select, update

from colm.db.connection import autocommit, transaction
from colm.db.integrity.hash_chain import Link, Salt, chain_links, chain_row
from colm.db.record.loading import DECIDING_OUTCOME, load
from colm.db.record.locked_query import SqlLockedQuery
from colm.db.record.query_cache import QueryCache
from colm.db.record.rows import FIRST_SEQ, QueryProgress, query_row, step_of
from colm.db.record.upserts import insert_new, insert_or_ignore, insert_query
from colm.db.schema import tables
from colm.models.dead_letter import DeadLetter
from colm.models.errors import InvalidAsk, UnknownQuery
from colm.models.messages import MAX_QUESTION_CHARS, MAX_REASON_CHARS, Query, Step

logger = logging.getLogger(__name__)

#: PostgreSQL channel with the ids of queries whose answer is committed.
ANSWERS_CHANNEL = "colm_answers"
_SAVE_PROGRESS = update(tables.progress).where(tables.progress.c.query_id == bindparam("id"))
_DUE = (
    select(tables.progress.c.query_id)
    .where(tables.OPEN, tables.progress.c.wake_at <= bindparam("now"))
    .order_by(tables.progress.c.wake_at)
    .limit(bindparam("at_most"))
)
_STRANDED = (
    select(tables.steps)
    .where(
        # Not a join: SQLite might begin it with all steps.
        tables.steps.c.query_id.in_(select(tables.progress.c.query_id).where(tables.OPEN)),
        tables.steps.c.asked_at < bindparam("before"),
        ~exists().where(DECIDING_OUTCOME),
        ~exists().where(tables.dispatches.c.step_id == tables.steps.c.step_id),
    )
    .order_by(tables.steps.c.asked_at)
    .limit(bindparam("at_most"))
)


def new_salt() -> bytes:
    """128 random bits."""
    return secrets.token_bytes(16)


class SqlRecord:
    """The record on PostgreSQL or SQLite. Threads and processes may share a database.

    A thread must not write by another method while it holds a query open: SQLite has one writer.
    """

    def __init__(self, engine: Engine, *, salt: Salt = new_salt) -> None:
        self._engine = engine
        self._salt = salt
        self._cache = QueryCache()

    @contextmanager
    def begin(self, query: Query) -> Iterator[SqlLockedQuery]:
        """Record a query and open it; a repeat opens the recorded one.

        Raises InvalidAsk if the query was refused or purged before.
        """
        with transaction(self._engine) as connection:
            # Until the query has a row in `progress`, its row in `queries` is the lock.
            row = chain_row(tables.queries.name, query_row(query, FIRST_SEQ), None, self._salt)
            if insert_query(connection, row):
                life = SqlLockedQuery.new(query)
                yield life
                links, head = chain_links(_new_links(life), row["hash"], self._salt)
                _create_progress(connection, query.query_id, replace(life.progress, head=head))
                _save_rows(connection, links)
            else:
                with self._saving(connection, self._reload(connection, query.query_id)) as life:
                    yield life

    @contextmanager
    def open(self, query_id: str) -> Iterator[SqlLockedQuery]:
        """Open a recorded query; raises UnknownQuery."""
        with (
            transaction(self._engine) as connection,
            self._saving(connection, load(connection, query_id, self._cache)) as life,
        ):
            yield life
        self._cache.put(query_id, life.progress.head, life.state, ended=life.ended)

    def refuse(
        self, query_id: str, question: str, strategy: str, reason: str, now: datetime
    ) -> None:
        """Record a question that cannot become a query, unless its id is recorded or purged."""
        question_row = {
            "query_id": query_id,
            "seq": FIRST_SEQ,
            "question": question[:MAX_QUESTION_CHARS],
            "strategy": strategy,
            "asked_at": now,
            "lane": "interactive",
        }
        answer = {
            "query_id": query_id,
            "seq": FIRST_SEQ + 1,
            "status": "refused",
            "reason": reason[:MAX_REASON_CHARS],
            "asked_at": now,
            "ended_at": now,
        }
        links = [Link(tables.queries.name, question_row), Link(tables.answers.name, answer)]
        (query, ended), head = chain_links(links, None, self._salt)
        progress = QueryProgress(open=False, wake_at=now, next_seq=FIRST_SEQ + 2, head=head)
        try:
            with transaction(self._engine) as connection:
                if insert_query(connection, query.row):
                    _create_progress(connection, query_id, progress)
                    _save_rows(connection, [ended])
        except InvalidAsk as error:
            logger.warning("a refused question is not recorded: %s", error)

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Ids of open queries whose `wake_at` has passed, oldest first."""
        with autocommit(self._engine) as connection:
            return connection.scalars(_DUE, {"now": now, "at_most": limit}).all()

    def stranded(self, asked_before: datetime, limit: int) -> Sequence[Step]:
        """Open steps of open queries, asked before then and never marked as dispatched."""
        with autocommit(self._engine) as connection:
            rows = connection.execute(_STRANDED, {"before": asked_before, "at_most": limit})
            return [step_of(dict(row._mapping)) for row in rows]

    def mark_dispatched(self, step_ids: Iterable[str], at: datetime) -> None:
        """Record that these steps are in their queues. Idempotent."""
        rows = [{"step_id": step_id, "at": at} for step_id in step_ids]
        if rows:
            with transaction(self._engine) as connection:
                connection.execute(insert_or_ignore(connection, tables.dispatches), rows)

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Record a dead letter. Idempotent by message id."""
        with transaction(self._engine) as connection:
            insert_new(connection, tables.dead_letters, asdict(letter))

    @contextmanager
    def _saving(self, connection: Connection, life: SqlLockedQuery) -> Iterator[SqlLockedQuery]:
        before = life.progress
        yield life
        # Every new row takes a seq, which changes the progress.
        if life.progress != before:
            links, head = chain_links(_new_links(life), before.head, self._salt)
            sealed = before.sealed and not links
            life.progress = replace(life.progress, head=head, sealed=sealed)
            row = asdict(life.progress)
            connection.execute(_SAVE_PROGRESS, {"id": life.state.query.query_id, **row})
            _save_rows(connection, links)

    def _reload(self, connection: Connection, query_id: str) -> SqlLockedQuery:
        try:
            return load(connection, query_id, self._cache)
        except UnknownQuery as error:
            # It has a row in `queries` only: it was refused.
            raise InvalidAsk(str(error)) from error


def _create_progress(connection: Connection, query_id: str, progress: QueryProgress) -> None:
    connection.execute(insert(tables.progress), {"query_id": query_id, **asdict(progress)})


def _new_links(life: SqlLockedQuery) -> list[Link]:
    return [Link(table.name, row) for table, rows in life.new_rows for row in rows]


def _save_rows(connection: Connection, links: Sequence[Link]) -> None:
    for table in tables.CHAINED:
        rows = [link.row for link in links if link.table == table.name]
        if rows:
            connection.execute(insert(table), rows)
        if rows and table is tables.answers:
            _announce(connection, rows[0]["query_id"])


def _announce(connection: Connection, query_id: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(ANSWERS_CHANNEL, query_id)))
