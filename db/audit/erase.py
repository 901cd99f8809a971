"""Erasing the texts of a query: what was said is gone, that and when it was said stays provable.

Texts and salts go, digests and hashes stay, and the chain grows by a row that says who asked for
it and why. A guess at an erased text cannot be tested against its digest without the salt.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, Table, bindparam, case, insert, select, update

from colm.db.connection import autocommit, transaction
from colm.db.integrity.hash_chain import TEXTS, Fields, row_hash
from colm.db.integrity.redaction import ERASED, erased
from colm.db.integrity.signatures import Signer, erasure_statement, signed
from colm.db.schema import tables
from colm.db.schema.audit_tables import checkpoints, erasures
from colm.db.schema.run_tables import GOING_ON, run_states, units
from colm.db.schema.triggers import with_permit
from colm.models.errors import CallerError, UnknownQuery

_LOCK = select(tables.progress).where(tables.progress.c.query_id == bindparam("id"))
_GROW = update(tables.progress).where(tables.progress.c.query_id == bindparam("id"))

#: What a query says may be handed to others of its run until that is over.
_RUN_GOING_ON = (
    select(run_states.c.run)
    .join(tables.queries, tables.queries.c.run == run_states.c.run)
    .where(tables.queries.c.query_id == bindparam("id"), GOING_ON)
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
    """Erase every text of an ended query; how many rows held one. 0: all were erased before.

    Raises UnknownQuery, and CallerError while the query or its run is open or the key of a record
    with checkpoints is missing. SQLite overwrites the freed bytes; PostgreSQL keeps them until VACUUM.
    """
    with transaction(engine) as connection:
        check_key(connection, signer)
        stands = connection.execute(_LOCK.with_for_update(), {"id": query_id}).one_or_none()
        if stands is None:
            raise UnknownQuery(f"no query {query_id} is in the record")
        if stands.open:
            raise CallerError(
                f"query {query_id} is open: its texts can be erased when it has ended"
            )
        if run := connection.scalar(_RUN_GOING_ON, {"id": query_id}):
            raise CallerError(
                f"query {query_id} is of run {run}, which goes on: cancel it, or wait"
            )
        count = _replace_texts(connection, query_id)
        if count:
            row: Fields = {
                "query_id": query_id,
                "seq": stands.next_seq,
                "at": now,
                "asked_by": asked_by,
                "reason": reason,
            }
            signature = signed(signer, erasure_statement(row))
            row |= {"key": signature.key, "signature": signature.signature}
            row["hash"] = row_hash(erasures.name, row, stands.head)
            connection.execute(insert(erasures), row)
            grown = {"next_seq": stands.next_seq + 1, "head": row["hash"], "sealed": False}
            connection.execute(_GROW, {"id": query_id, **grown})
        return count


def check_key(connection: Connection, signer: Signer | None) -> None:
    """Raise CallerError if the record has checkpoints and there is no key to sign its changes."""
    if signer is None and connection.scalar(select(checkpoints.c.number).limit(1)) is not None:
        raise CallerError(
            "this record has checkpoints: an erasure or a purge must be signed with the key that "
            "signed them (see docs/audit.md for its place)"
        )


def ended_of_run(engine: Engine, run: str) -> list[str]:
    """The queries of an evaluation run that have ended, in the order asked."""
    queries = tables.queries
    found = select(queries.c.query_id).join(tables.progress)
    found = found.where(queries.c.run == run, tables.progress.c.open.is_(False))
    with transaction(engine) as connection:
        return list(connection.scalars(found.order_by(queries.c.asked_at)))


def _replace_texts(connection: Connection, query_id: str) -> int:
    overwrite_what_is_freed(connection)
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
    """What a run's unit quotes of the query. Found by the run, which begins the units' key."""
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
        replaced = {name: erased(table.name, name, value) for name, value in values.items()}
        if replaced != values:
            changed.append({"of": query_id, "at_seq": row.seq, "salts": None, **replaced})
    if changed:
        at = (table.c.query_id == bindparam("of"), table.c.seq == bindparam("at_seq"))
        connection.execute(update(table).where(*at), changed)
    return len(changed)


def compact(engine: Engine) -> bool:
    """Bring SQLite's main file up to its log and empty that; False if a reader prevents it."""
    if engine.dialect.name != "sqlite":
        return True
    with autocommit(engine) as connection:
        cursor = connection.connection.cursor()
        blocked, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not blocked


def overwrite_what_is_freed(connection: Connection) -> None:
    """Have SQLite overwrite what this connection removes, instead of only forgetting it."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
