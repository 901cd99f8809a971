"""Erasure of a query's texts. The hash chain stays verifiable.

Texts and salts are replaced; digests and hashes stay; a chained row names requester and reason.
Without its salt a text cannot be guessed from its digest.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, Table, bindparam, case, insert, select, update

from colm.db.connection import autocommit, transaction
from colm.db.integrity.hash_chain import TEXTS, Fields, row_hash
from colm.db.integrity.redaction import ERASED, placeholder_of
from colm.db.integrity.signatures import Signer, erasure_statement, signature_columns
from colm.db.schema import tables
from colm.db.schema.audit_tables import checkpoints, erasures
from colm.db.schema.run_tables import RUN_IS_OPEN, run_states, units
from colm.db.schema.triggers import with_permit
from colm.models.errors import CallerError, UnknownQuery

_LOCK = select(tables.progress).where(tables.progress.c.query_id == bindparam("id"))
_GROW = update(tables.progress).where(tables.progress.c.query_id == bindparam("id"))

#: Queries of an open run share completions: their texts must stay.
_RUN_OPEN = (
    select(run_states.c.run)
    .join(tables.queries, tables.queries.c.run == run_states.c.run)
    .where(tables.queries.c.query_id == bindparam("id"), RUN_IS_OPEN)
)


def erase(
    engine: Engine,
    query_id: str,
    *,
    asked_by: str,
    reason: str,
    now: datetime,
    signer: Signer | None,
) -> int:
    """Erase every text of an ended query. Returns the number of rows changed.

    Raises UnknownQuery; CallerError while the query or its run goes on, or if `check_key` does.
    SQLite overwrites the freed bytes; PostgreSQL keeps them until VACUUM.
    """
    with transaction(engine) as connection:
        check_key(connection, signer)
        progress = connection.execute(_LOCK.with_for_update(), {"id": query_id}).one_or_none()
        if progress is None:
            raise UnknownQuery(f"no query {query_id} is in the record")
        if progress.open:
            raise CallerError(f"query {query_id} is open: erase its texts when it has ended")
        if run := connection.scalar(_RUN_OPEN, {"id": query_id}):
            raise CallerError(
                f"query {query_id} is of run {run}, which has not ended: cancel it, or wait"
            )
        count = _replace_texts(connection, query_id)
        if count:
            row: Fields = {"query_id": query_id, "seq": progress.next_seq, "at": now}
            row |= {"asked_by": asked_by, "reason": reason}
            row |= signature_columns(signer, erasure_statement(row))
            row["hash"] = row_hash(erasures.name, row, progress.head)
            connection.execute(insert(erasures), row)
            grown = {"next_seq": progress.next_seq + 1, "head": row["hash"], "sealed": False}
            connection.execute(_GROW, {"id": query_id, **grown})
        return count


def check_key(connection: Connection, signer: Signer | None) -> None:
    """Raise CallerError if the record has checkpoints and there is no key to sign changes."""
    if signer is None and connection.scalar(select(checkpoints.c.number).limit(1)) is not None:
        raise CallerError(
            "this record has checkpoints: erasures and purges must be signed with the key that "
            "signed them (docs/how-to/audit.md)"
        )


def ended_of_run(engine: Engine, run: str) -> list[str]:
    """Ids of a run's ended queries, oldest first."""
    queries = tables.queries
    ended = select(queries.c.query_id).join(tables.progress)
    ended = ended.where(queries.c.run == run, tables.progress.c.open.is_(False))
    with transaction(engine) as connection:
        return list(connection.scalars(ended.order_by(queries.c.asked_at)))


def _replace_texts(connection: Connection, query_id: str) -> int:
    enable_secure_delete(connection)
    letters = tables.dead_letters
    with with_permit(connection, "erase"):
        count = sum(
            _replace_texts_in(connection, table, query_id)
            for table in tables.CHAINED
            if TEXTS[table.name]
        )
        body = update(letters).where(letters.c.query_id == query_id, letters.c.body != ERASED)
        connection.execute(body, {"body": ERASED})
        _replace_texts_of_unit(connection, query_id)
    return count


def _replace_texts_of_unit(connection: Connection, query_id: str) -> None:
    # Selected by run too: it is the first column of the primary key.
    queries = tables.queries.c
    run = select(queries.run).where(queries.query_id == query_id).scalar_subquery()
    texts = {
        name: case((units.c[name].is_(None), None), else_=ERASED)
        for name in ("extracted", "reason")
    }
    quoted = update(units).where(units.c.run == run, units.c.query_id == query_id)
    connection.execute(quoted.values(**texts, detail={}))


def _replace_texts_in(connection: Connection, table: Table, query_id: str) -> int:
    texts = [table.c[name] for name in TEXTS[table.name]]
    rows = connection.execute(select(table.c.seq, *texts).where(table.c.query_id == query_id)).all()
    changed = []
    for row in rows:
        values = {t.name: getattr(row, t.name) for t in texts}
        replaced = {name: placeholder_of(table.name, name, value) for name, value in values.items()}
        if replaced != values:
            changed.append({"of": query_id, "at_seq": row.seq, "salts": None, **replaced})
    if changed:
        at = (table.c.query_id == bindparam("of"), table.c.seq == bindparam("at_seq"))
        connection.execute(update(table).where(*at), changed)
    return len(changed)


def compact(engine: Engine) -> bool:
    """Checkpoint SQLite's write-ahead log and truncate it. False if a reader prevents that."""
    if engine.dialect.name != "sqlite":
        return True
    with autocommit(engine) as connection:
        cursor = connection.connection.cursor()
        blocked, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not blocked


def enable_secure_delete(connection: Connection) -> None:
    """Make SQLite overwrite the bytes that this connection deletes (`PRAGMA secure_delete`)."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
