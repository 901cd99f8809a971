"""Seals: signed statements of how the chains of ended queries stood.

Whoever can write SQL can compute a chain anew; the key that signs seals is in no database. A seal
covers the ended queries that have grown since their last seal, by a Merkle root over the id, length
and head of each, and names the seal before it. So neither a query nor a seal can go unnoticed.
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
from colm.db.schema.audit_tables import sealed, seals

#: The most queries that one seal covers.
MOST_QUERIES = 5_000
#: Held on PostgreSQL while sealing; any number that no other program uses.
_LOCK = 0x5EA1

_UNSEALED = (
    select(
        tables.progress.c.query_id,
        (tables.progress.c.next_seq - 1).label("length"),
        tables.progress.c.head,
    )
    .where(tables.UNSEALED)
    .order_by(tables.progress.c.query_id)
    .limit(bindparam("at_most"))
    # A query that a coordinator is at work on is sealed the next time.
    .with_for_update(skip_locked=True)
)
_LATEST = select(seals.c.number, seals.c.hash).order_by(seals.c.number.desc()).limit(1)
_MARK = (
    update(tables.progress).where(tables.progress.c.query_id == bindparam("id")).values(sealed=True)
)
#: What a seal says, beside the hash over it and the signature.
SAID = ("number", "at", "queries", "root", "previous", "key")


@dataclass(frozen=True, kw_only=True)
class Seal:
    """A seal as it was recorded."""

    number: int
    #: How many queries it covers.
    queries: int
    hash: str


def leaf_of(member: Mapping[str, Any]) -> bytes:
    """What stands for a query in a seal's tree."""
    return merkle.leaf(canonical([member["query_id"], member["length"], member["head"]]))


def root_of(members: Sequence[Mapping[str, Any]]) -> str:
    return merkle.root([leaf_of(member) for member in members]).hex()


def seal_statement(row: Mapping[str, Any]) -> bytes:
    return statement("seal", {name: row[name] for name in SAID})


def seal_ended(
    engine: Engine, signer: Signer, now: datetime, at_most: int = MOST_QUERIES
) -> Seal | None:
    """Seal up to `at_most` ended queries that are not; None if there are none."""
    with transaction(engine) as connection:
        _lock(connection)
        rows = connection.execute(_UNSEALED, {"at_most": at_most})
        members = [dict(row._mapping) for row in rows]
        if not members:
            return None
        row = _seal_row(members, connection.execute(_LATEST).one_or_none(), signer, now)
        connection.execute(insert(seals), row)
        covered = [
            {"seal": row["number"], "position": position, **member}
            for position, member in enumerate(members)
        ]
        connection.execute(insert(sealed), covered)
        connection.execute(_MARK, [{"id": member["query_id"]} for member in members])
        return Seal(number=row["number"], queries=len(members), hash=row["hash"])


def count_unsealed(engine: Engine) -> int:
    """How many ended queries no seal covers in full."""
    with autocommit(engine) as connection:
        counted = select(func.count()).select_from(tables.progress).where(tables.UNSEALED)
        return int(connection.scalar(counted) or 0)


def _seal_row(members: Sequence[Fields], latest: Any, signer: Signer, now: datetime) -> Fields:
    row: Fields = {
        "number": 1 if latest is None else latest.number + 1,
        "at": now,
        "queries": len(members),
        "root": root_of(members),
        "previous": None if latest is None else latest.hash,
        "key": signer.key,
    }
    said = seal_statement(row)
    return {**row, "hash": sha256(said), "signature": signer.sign(said)}


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
