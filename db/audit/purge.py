"""Retention: queries that ended long ago go, and a tombstone of each stays.

In small transactions, so that nobody waits for long and an interrupted purge has done what it has
done. A tombstone says how the purged query's chain stood: with it the checkpoints stay verifiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, exists, func, insert, or_, select

from colm.db.audit.erase import check_key, overwrite_what_is_freed
from colm.db.connection import autocommit, transaction
from colm.db.integrity.hash_chain import Fields
from colm.db.integrity.signatures import Signer, signed, tombstone_statement
from colm.db.schema import tables
from colm.db.schema.audit_tables import tombstones
from colm.db.schema.run_tables import GOING_ON, run_states, shared_steps
from colm.db.schema.triggers import with_permit

_QUERIES, _ANSWERS, _LETTERS = tables.queries.c, tables.answers.c, tables.dead_letters.c
#: Rows before those that they refer to; all name their query.
_OF_QUERY = (*reversed(tables.CHAINED[1:]), tables.progress, tables.queries)


def ended_before(engine: Engine, before: datetime, limit: int) -> Sequence[str]:
    """Ids of queries that ended before then, oldest asked first."""
    oldest = _ended(before).order_by(_QUERIES.asked_at).limit(limit)
    with autocommit(engine) as connection:
        return list(connection.scalars(oldest))


def count_ended_before(engine: Engine, before: datetime) -> int:
    with autocommit(engine) as connection:
        counted = select(func.count()).select_from(_ended(before).subquery())
        return int(connection.scalar(counted) or 0)


def purge(
    engine: Engine, ids: Sequence[str], *, reason: str, now: datetime, signer: Signer | None
) -> int:
    """Remove these queries in one transaction; how many. Those that are open or gone stay so.

    Raises CallerError where the record has checkpoints and the key is missing.
    """
    progress = tables.progress
    stand = select(progress).where(progress.c.query_id.in_(ids), progress.c.open.is_(False))
    with transaction(engine) as connection:
        check_key(connection, signer)
        ended = connection.execute(stand.with_for_update()).all()
        if not ended:
            return 0
        stones = [
            _tombstone(row.query_id, row.next_seq - 1, row.head, now, reason, signer)
            for row in ended
        ]
        connection.execute(insert(tombstones), stones)
        overwrite_what_is_freed(connection)
        with with_permit(connection, "purge"):
            _remove(connection, [row.query_id for row in ended])
        return len(ended)


def purge_letters(engine: Engine, before: datetime, limit: int) -> int:
    """Remove dead letters of before then that belong to no recorded query; how many."""
    known = exists().where(_QUERIES.query_id == _LETTERS.query_id)
    old = (
        select(_LETTERS.message_id)
        .where(_LETTERS.at < before, or_(_LETTERS.query_id.is_(None), ~known))
        .order_by(_LETTERS.at)
        .limit(limit)
    )
    with transaction(engine) as connection, with_permit(connection, "purge"):
        removed = delete(tables.dead_letters).where(_LETTERS.message_id.in_(old))
        return int(connection.execute(removed).rowcount)


def _ended(before: datetime) -> Select[Any]:
    """Told by when it was asked, too: that column has the index."""
    ended = select(_QUERIES.query_id).join(tables.answers)
    # What one query says is handed to others of its run until that is over.
    going_on = exists().where(run_states.c.run == _QUERIES.run, GOING_ON)
    return ended.where(_QUERIES.asked_at < before, _ANSWERS.ended_at < before, ~going_on)


def _tombstone(
    query_id: str, length: int, head: str | None, at: datetime, reason: str, signer: Signer | None
) -> Fields:
    row: Fields = {
        "query_id": query_id,
        "length": length,
        "head": head,
        "purged_at": at,
        "reason": reason,
    }
    signature = signed(signer, tombstone_statement(row))
    return {**row, "key": signature.key, "signature": signature.signature}


def _remove(connection: Connection, ids: Sequence[str]) -> None:
    steps = select(tables.steps.c.step_id).where(tables.steps.c.query_id.in_(ids))
    # One after the other: each finds its rows by an index, both at once would find them by none.
    for column in (shared_steps.c.step_id, shared_steps.c.owner):
        connection.execute(delete(shared_steps).where(column.in_(steps)))
    connection.execute(delete(tables.dispatches).where(tables.dispatches.c.step_id.in_(steps)))
    connection.execute(delete(tables.dead_letters).where(_LETTERS.query_id.in_(ids)))
    for table in _OF_QUERY:
        connection.execute(delete(table).where(table.c.query_id.in_(ids)))
