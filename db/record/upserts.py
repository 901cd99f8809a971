"""Inserts that leave existing rows alone."""

from __future__ import annotations

from sqlalchemy import Connection, Insert, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from colm.db.record.rows import Fields
from colm.db.schema import tables
from colm.db.schema.audit_tables import tombstones
from colm.models.errors import InvalidAsk

_TOMBSTONE = select(tombstones).where(tombstones.c.query_id == bindparam("id"))


def insert_or_ignore(connection: Connection, table: Table) -> Insert:
    """INSERT ... ON CONFLICT DO NOTHING. It waits for a transaction that inserts the same key."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def insert_new(connection: Connection, table: Table, row: Fields) -> bool:
    """Insert the row. False if one with its key exists."""
    return connection.execute(insert_or_ignore(connection, table), row).rowcount == 1


def insert_query(connection: Connection, row: Fields) -> bool:
    """`insert_new` into `queries`. Raises InvalidAsk for the id of a purged query."""
    if not insert_new(connection, tables.queries, row):
        return False
    # Read after the insert, which waits for a purge under way.
    tombstone = connection.execute(_TOMBSTONE, {"id": row["query_id"]}).one_or_none()
    if tombstone is not None:
        raise InvalidAsk(
            f"query {tombstone.query_id} was purged on {tombstone.purged_at:%Y-%m-%d} "
            f"({tombstone.reason}) and cannot be recorded again: ask under another id"
        )
    return True
