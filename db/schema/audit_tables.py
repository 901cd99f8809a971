"""Tables of the audit: erasures, checkpoints, tombstones, permits.

`erasures` is part of a query's chain. The others outlive their queries and have no foreign key.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table

from colm.db.columns import PlainText, UtcDateTime
from colm.db.schema.metadata import metadata, of_query, row_hash
from colm.db.schema.triggers import append_only_triggers

#: An erasure of the texts of all rows of the query with a lower `seq`.
erasures = Table(
    "erasures",
    metadata,
    of_query(primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("asked_by", PlainText, nullable=False),
    Column("reason", PlainText, nullable=False),
    Column("key", PlainText),
    Column("signature", PlainText),
    row_hash(),
)

#: A checkpoint: the signed Merkle root over the chains of some ended queries. The tables
#: and columns keep their first name, seal: so do stored exports and signing domains.
checkpoints = Table(
    "seals",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("queries", Integer, nullable=False),
    Column("root", PlainText, nullable=False),
    Column("previous", PlainText),
    Column("key", PlainText, nullable=False),
    Column("signature", PlainText, nullable=False),
    Column("hash", PlainText, nullable=False),
)

#: A query's chain up to `length`, covered by a checkpoint. `head` is null where it has no hashes.
covered_queries = Table(
    "sealed",
    metadata,
    Column("seal", Integer, ForeignKey("seals.number"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("query_id", PlainText, nullable=False),
    Column("length", Integer, nullable=False),
    Column("head", PlainText),
)
Index(None, covered_queries.c.query_id)

#: The remains of a purged query.
tombstones = Table(
    "tombstones",
    metadata,
    Column("query_id", PlainText, primary_key=True),
    Column("length", Integer, nullable=False),
    Column("head", PlainText),
    Column("purged_at", UtcDateTime, nullable=False),
    Column("reason", PlainText, nullable=False),
    Column("key", PlainText),
    Column("signature", PlainText),
)

#: Operations that the inserting transaction may do on append-only tables; else empty.
permits = Table("permits", metadata, Column("operation", PlainText, primary_key=True))

append_only_triggers(erasures, purged=True)
for _table in (checkpoints, covered_queries, tombstones):
    append_only_triggers(_table)
AUDIT_TABLES = (erasures, checkpoints, covered_queries, tombstones, permits)
