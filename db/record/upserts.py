"""Rows that may be there already, and queries that may have been there before."""

from __future__ import annotations

from sqlalchemy import Connection, Insert, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from colm.db.record.rows import Fields
from colm.db.schema import tables
from colm.db.schema.audit_tables import tombstones
from colm.models.errors import InvalidAsk

_TOMBSTONE = select(tombstones).where(tombstones.c.query_id == bindparam("id"))


def unless_known(connection: Connection, table: Table) -> Insert:
    """An INSERT that leaves a row that is there already as it is."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def insert_new(connection: Connection, table: Table, row: Fields) -> bool:
    """True if the row was not there yet. Waits for another transaction that is inserting it."""
    return connection.execute(unless_known(connection, table), row).rowcount == 1


def insert_query(connection: Connection, row: Fields) -> bool:
    """`insert_new` into `queries`. Raises InvalidAsk where a query of this id was purged.

    The tombstone is looked for afterwards: the insert has waited for a purge under way.
    """
    if not insert_new(connection, tables.queries, row):
        return False
    stone = connection.execute(_TOMBSTONE, {"id": row["query_id"]}).one_or_none()
    if stone is not None:
        raise InvalidAsk(
            f"query {stone.query_id} was purged on {stone.purged_at:%Y-%m-%d} ({stone.reason}) and "
            "cannot be recorded again: ask under another id"
        )
    return True
