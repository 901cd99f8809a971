"""Purge of queries that ended long ago. A tombstone of each stays.

Small transactions: locks are short, and an interrupted purge continues. A tombstone holds the
length and head of the purged chain, so that checkpoints stay verifiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, exists, func, insert, or_, select

from colm.db.audit.erase import check_key, enable_secure_delete
from colm.db.connection import autocommit, transaction
from colm.db.integrity.hash_chain import Fields
from colm.db.integrity.signatures import Signer, signature_columns, tombstone_statement
from colm.db.schema import tables
from colm.db.schema.audit_tables import tombstones
from colm.db.schema.run_tables import RUN_IS_OPEN, run_states, shared_steps
from colm.db.schema.triggers import with_permit

_QUERIES, _ANSWERS, _LETTERS = tables.queries.c, tables.answers.c, tables.dead_letters.c
#: Tables in the order of deletion: foreign keys point to later ones.
_OF_QUERY = (*reversed(tables.CHAINED[1:]), tables.progress, tables.queries)


def ended_before(engine: Engine, before: datetime, limit: int) -> Sequence[str]:
    """Ids of queries that ended before `before`, oldest first."""
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
    """Remove the ended ones of these queries in one transaction. Returns their number.

    Raises CallerError if `check_key` does.
    """
    progress = tables.progress
    progress_rows = select(progress).where(progress.c.query_id.in_(ids), progress.c.open.is_(False))
    with transaction(engine) as connection:
        check_key(connection, signer)
        ended = connection.execute(progress_rows.with_for_update()).all()
        if not ended:
            return 0
        rows = [
            _tombstone(row.query_id, row.next_seq - 1, row.head, now, reason, signer)
            for row in ended
        ]
        connection.execute(insert(tombstones), rows)
        enable_secure_delete(connection)
        with with_permit(connection, "purge"):
            _remove(connection, [row.query_id for row in ended])
        return len(ended)


def purge_dead_letters(engine: Engine, before: datetime, limit: int) -> int:
    """Remove up to `limit` dead letters from before `before` of no recorded query."""
    recorded = exists().where(_QUERIES.query_id == _LETTERS.query_id)
    old = (
        select(_LETTERS.message_id)
        .where(_LETTERS.at < before, or_(_LETTERS.query_id.is_(None), ~recorded))
        .order_by(_LETTERS.at)
        .limit(limit)
    )
    with transaction(engine) as connection, with_permit(connection, "purge"):
        removed = delete(tables.dead_letters).where(_LETTERS.message_id.in_(old))
        return int(connection.execute(removed).rowcount)


def _ended(before: datetime) -> Select[Any]:
    ended = select(_QUERIES.query_id).join(tables.answers)
    # Queries of an open run share completions.
    run_open = exists().where(run_states.c.run == _QUERIES.run, RUN_IS_OPEN)
    # `asked_at` has the index.
    return ended.where(_QUERIES.asked_at < before, _ANSWERS.ended_at < before, ~run_open)


def _tombstone(
    query_id: str, length: int, head: str | None, at: datetime, reason: str, signer: Signer | None
) -> Fields:
    row: Fields = {"query_id": query_id, "length": length, "head": head}
    row |= {"purged_at": at, "reason": reason}
    return row | signature_columns(signer, tombstone_statement(row))


def _remove(connection: Connection, ids: Sequence[str]) -> None:
    steps = select(tables.steps.c.step_id).where(tables.steps.c.query_id.in_(ids))
    # One column a statement: an OR of both would use no index.
    for column in (shared_steps.c.step_id, shared_steps.c.owner):
        connection.execute(delete(shared_steps).where(column.in_(steps)))
    connection.execute(delete(tables.dispatches).where(tables.dispatches.c.step_id.in_(steps)))
    connection.execute(delete(tables.dead_letters).where(_LETTERS.query_id.in_(ids)))
    for table in _OF_QUERY:
        connection.execute(delete(table).where(table.c.query_id.in_(ids)))
