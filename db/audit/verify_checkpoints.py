"""Verification of the chain of checkpoints, and of the triggers that protect the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, select, text

from colm.db.audit.checkpoints import checkpoint_statement, members_of, root_of
from colm.db.audit.verify_query import NEVER_WRITTEN, AuditFinding
from colm.db.connection import snapshot
from colm.db.integrity.canonical_json import sha256
from colm.db.integrity.hash_chain import Fields
from colm.db.integrity.signatures import Trust
from colm.db.schema import tables, triggers
from colm.db.schema.audit_tables import checkpoints, permits

_TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    # O and A: enabled for ordinary sessions.
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A')",
}


def database_findings(connection: Connection) -> Iterator[AuditFinding]:
    """Findings about missing triggers and stale permits."""
    present = set(connection.scalars(text(_TRIGGERS[connection.dialect.name])))
    for table in tables.metadata.sorted_tables:
        for name in triggers.triggers(connection.dialect.name, table):
            if name not in present:
                reason = f"the trigger {name} is missing or disabled: rows can be changed unnoticed"
                yield AuditFinding(query_id=None, table=table.name, row="all", what=reason)
    for operation in connection.scalars(select(permits)):
        reason = "permits the operation to every transaction: delete this row"
        yield AuditFinding(query_id=None, table="permits", row=operation, what=reason)


def checkpoint_findings(
    engine: Engine, trust: Trust, latest: tuple[int, str] | None
) -> Iterator[tuple[int, list[AuditFinding]]]:
    """For each checkpoint 1 and its findings; at the end 0 and those of the whole chain, if any."""
    before: Fields | None = None
    while True:
        try:
            with snapshot(engine) as connection:
                row = _next(connection, before)
                members = [] if row is None else members_of(connection, row["number"])
        except NEVER_WRITTEN as error:
            number = 1 if before is None else before["number"] + 1
            yield 0, [_finding(number, f"holds a value that CoLM never writes: {error}")]
            return
        if row is None:
            break
        faults = list(_faults(row, before, members, trust))
        if latest is not None and latest[0] == row["number"] and latest[1] != row["hash"]:
            faults.append("is not the checkpoint of this number that was signed here")
        yield 1, [_finding(row["number"], fault) for fault in faults]
        before = row
    if latest is not None and (before is None or before["number"] < latest[0]):
        yield 0, [_finding(latest[0], "is missing; it was signed here")]


def _next(connection: Connection, before: Fields | None) -> Fields | None:
    after = 0 if before is None else before["number"]
    later = select(checkpoints).where(checkpoints.c.number > after)
    row = connection.execute(later.order_by(checkpoints.c.number).limit(1)).one_or_none()
    return None if row is None else dict(row._mapping)


def _faults(
    row: Fields, before: Fields | None, members: list[Fields], trust: Trust
) -> Iterator[str]:
    expected, previous = (1, None) if before is None else (before["number"] + 1, before["hash"])
    if row["number"] != expected:
        yield f"follows checkpoint {expected - 1}: the ones between are missing"
    elif row["previous"] != previous:
        yield "names another checkpoint before it than the recorded one"
    signed_bytes = checkpoint_statement(row)
    if sha256(signed_bytes) != row["hash"]:
        yield "was changed"
    if problem := trust.signature_error(signed_bytes, row["key"], row["signature"]):
        yield problem
    if len(members) != row["queries"]:
        yield f"covers {row['queries']} queries, and {len(members)} are listed"
    elif [member["position"] for member in members] != list(range(len(members))):
        yield "lists its queries at other positions than they had"
    elif _root(members) != row["root"]:
        yield "lists other queries, lengths or heads than its root covers"


def _root(members: list[Fields]) -> str | None:
    try:
        return root_of(members)
    except NEVER_WRITTEN:
        return None


def _finding(number: Any, what: str) -> AuditFinding:
    return AuditFinding(query_id=None, table="seals", row=f"checkpoint {number}", what=what)
