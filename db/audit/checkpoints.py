"""Checkpoints (Certificate Transparency): signed Merkle roots over the chains of ended queries.

A chain can be recomputed by anybody who can write SQL; the key that signs checkpoints is in no
database. A checkpoint covers the ended queries that have grown since their last one: a Merkle root
over the id, length and head of each, and the hash of the checkpoint before. So neither a query nor
a checkpoint can be removed unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from colm.db.connection import autocommit, transaction
from colm.db.integrity import merkle
from colm.db.integrity.canonical_json import canonical, sha256
from colm.db.integrity.hash_chain import Fields
from colm.db.integrity.signatures import Signer, statement
from colm.db.schema import tables
from colm.db.schema.audit_tables import checkpoints, covered_queries

#: The most queries that one checkpoint covers.
MOST_QUERIES = 5_000
#: PostgreSQL advisory lock of the writer of checkpoints; any number that no other program uses.
_LOCK = 0x5EA1

_UNCOVERED = (
    select(
        tables.progress.c.query_id,
        (tables.progress.c.next_seq - 1).label("length"),
        tables.progress.c.head,
    )
    .where(tables.UNCOVERED)
    .order_by(tables.progress.c.query_id)
    .limit(bindparam("at_most"))
    # A query locked by a coordinator goes into the next checkpoint.
    .with_for_update(skip_locked=True)
)
_LATEST = (
    select(checkpoints.c.number, checkpoints.c.hash).order_by(checkpoints.c.number.desc()).limit(1)
)
_MARK = (
    update(tables.progress).where(tables.progress.c.query_id == bindparam("id")).values(sealed=True)
)
#: The signed columns of a checkpoint.
SIGNED_COLUMNS = ("number", "at", "queries", "root", "previous", "key")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint as it was recorded."""

    number: int
    #: How many queries it covers.
    queries: int
    hash: str


def leaf_of(member: Mapping[str, Any]) -> bytes:
    """The Merkle leaf of a query: its id, the length of its chain and its head."""
    return merkle.leaf(canonical([member["query_id"], member["length"], member["head"]]))


def root_of(members: Sequence[Mapping[str, Any]]) -> str:
    return merkle.root([leaf_of(member) for member in members]).hex()


def checkpoint_statement(row: Mapping[str, Any]) -> bytes:
    return statement("seal", {name: row[name] for name in SIGNED_COLUMNS})


def members_of(connection: Connection, number: int) -> list[Fields]:
    """The rows of `covered_queries` of a checkpoint, by position."""
    covered = select(covered_queries).where(covered_queries.c.seal == number)
    rows = connection.execute(covered.order_by(covered_queries.c.position))
    return [dict(row._mapping) for row in rows]


def write_checkpoint(
    engine: Engine, signer: Signer, now: datetime, at_most: int = MOST_QUERIES
) -> Checkpoint | None:
    """Record a checkpoint over up to `at_most` uncovered ended queries; None if there are none."""
    with transaction(engine) as connection:
        _lock(connection)
        rows = connection.execute(_UNCOVERED, {"at_most": at_most})
        members = [dict(row._mapping) for row in rows]
        if not members:
            return None
        row = _checkpoint_row(members, connection.execute(_LATEST).one_or_none(), signer, now)
        connection.execute(insert(checkpoints), row)
        covered = [
            {"seal": row["number"], "position": position, **member}
            for position, member in enumerate(members)
        ]
        connection.execute(insert(covered_queries), covered)
        connection.execute(_MARK, [{"id": member["query_id"]} for member in members])
        return Checkpoint(number=row["number"], queries=len(members), hash=row["hash"])


def count_uncovered(engine: Engine) -> int:
    """How many ended queries no checkpoint covers in full."""
    with autocommit(engine) as connection:
        counted = select(func.count()).select_from(tables.progress).where(tables.UNCOVERED)
        return int(connection.scalar(counted) or 0)


def _checkpoint_row(
    members: Sequence[Fields], latest: Any, signer: Signer, now: datetime
) -> Fields:
    row: Fields = {
        "number": 1 if latest is None else latest.number + 1,
        "at": now,
        "queries": len(members),
        "root": root_of(members),
        "previous": None if latest is None else latest.hash,
        "key": signer.key,
    }
    signed_bytes = checkpoint_statement(row)
    return {**row, "hash": sha256(signed_bytes), "signature": signer.sign(signed_bytes)}


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
