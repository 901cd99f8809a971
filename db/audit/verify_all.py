"""Verification of the whole record, in batches of one consistent snapshot each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Select,
    Table,
    and_,
    exists,
    func,
    select,
    union_all,
)

from colm.db.audit.verify_checkpoints import checkpoint_findings, database_findings
from colm.db.audit.verify_query import NEVER_WRITTEN, AuditFinding, QueryRows, findings
from colm.db.connection import autocommit, snapshot
from colm.db.integrity.hash_chain import Fields, Link
from colm.db.integrity.signatures import Trust
from colm.db.schema import tables
from colm.db.schema.audit_tables import covered_queries, tombstones

#: Queries a batch.
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """Counts of the verified rows, and the findings."""

    queries: int = 0
    rows: int = 0
    #: Queries from before rows had hashes.
    unchained: int = 0
    #: Queries whose latest row no checkpoint covers.
    uncovered: int = 0
    tombstones: int = 0
    checkpoints: int = 0
    findings: tuple[AuditFinding, ...] = ()

    def __add__(self, other: AuditResult) -> AuditResult:
        names = [field.name for field in fields(self)]
        return AuditResult(**{name: getattr(self, name) + getattr(other, name) for name in names})


def check_query(engine: Engine, query_id: str, trust: Trust) -> AuditResult:
    """Verify one query or its tombstone. All counts are 0 if the record has neither."""
    return _check(engine, [query_id], trust)


def check_everything(
    engine: Engine, trust: Trust, latest_checkpoint: tuple[int, str] | None = None
) -> Iterator[AuditResult]:
    """Verify the whole database. `latest_checkpoint`: its number and hash, kept elsewhere."""
    with snapshot(engine) as connection:
        yield AuditResult(findings=tuple(database_findings(connection)))
    for ids in (tables.queries.c.query_id, tombstones.c.query_id):
        for batch in _batches(engine, ids):
            yield _check(engine, batch, trust)
    for table in (*tables.CHAINED[1:], tables.progress, covered_queries):
        orphaned = _orphaned(table)
        for batch in _batches(engine, table.c.query_id, orphaned):
            yield _check(engine, batch, trust)
    for checkpoints, faults in checkpoint_findings(engine, trust, latest_checkpoint):
        yield AuditResult(checkpoints=checkpoints, findings=tuple(faults))


def count_queries(engine: Engine) -> int:
    """The number of queries and tombstones."""
    parts = [select(func.count()).select_from(t) for t in (tables.queries, tombstones)]
    with autocommit(engine) as connection:
        return sum(connection.execute(union_all(*parts)).scalars())


def _orphaned(table: Table) -> Any:
    """Condition: the row's query has neither a row in `queries` nor a tombstone."""
    return and_(
        ~exists().where(tables.queries.c.query_id == table.c.query_id),
        ~exists().where(tombstones.c.query_id == table.c.query_id),
    )


def _batches(engine: Engine, ids: Column[str], *which: Any) -> Iterator[list[str]]:
    """Distinct ids of a column in batches, by keyset pagination."""
    statement: Select[Any] = select(ids).distinct().where(*which).order_by(ids).limit(BATCH)
    after: list[Any] = []
    while True:
        with autocommit(engine) as connection:
            batch = list(connection.scalars(statement.where(*after)))
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        after = [ids > batch[-1]]


def _check(engine: Engine, ids: Sequence[str], trust: Trust) -> AuditResult:
    try:
        with snapshot(engine) as connection:
            queries = read_queries(connection, ids)
    except NEVER_WRITTEN as error:
        if len(ids) == 1:
            return _unreadable(ids[0], error)
        return sum((_check(engine, [query_id], trust) for query_id in ids), AuditResult())
    return sum((_checked(rows, trust) for rows in queries), AuditResult())


def _unreadable(query_id: str, error: Exception) -> AuditResult:
    reason = f"holds a value that CoLM never writes: {error}"
    finding = AuditFinding(query_id=query_id, table="any", row="one of its rows", what=reason)
    return AuditResult(queries=1, findings=(finding,))


def _checked(rows: QueryRows, trust: Trust) -> AuditResult:
    if not rows.links and not rows.checkpoints and not rows.tombstone and not rows.progress:
        return AuditResult()
    covered = max((member["length"] for member in rows.checkpoints), default=0)
    return AuditResult(
        queries=int(bool(rows.links)),
        rows=len(rows.links),
        unchained=int(rows.unchained),
        uncovered=int(bool(rows.links) and covered < rows.links[-1].row["seq"]),
        tombstones=int(rows.tombstone is not None),
        findings=tuple(findings(rows, trust)),
    )


def read_queries(connection: Connection, ids: Sequence[str]) -> list[QueryRows]:
    """The rows of each query, in the order of `ids`. Raises ValueError for an impossible `seq`."""
    links: dict[str, list[Link]] = defaultdict(list)
    for table in tables.CHAINED:
        for row in _rows(connection, table, ids):
            if type(row["seq"]) is not int:
                raise ValueError(f"seq {row['seq']!r} in {table.name}")
            links[row["query_id"]].append(Link(table.name, row))
    stand = {row["query_id"]: row for row in _rows(connection, tables.progress, ids)}
    stones = {row["query_id"]: row for row in _rows(connection, tombstones, ids)}
    covered: dict[str, list[Fields]] = defaultdict(list)
    for row in _rows(connection, covered_queries, ids):
        covered[row["query_id"]].append(row)
    return [
        QueryRows(
            query_id=query_id,
            links=sorted(links[query_id], key=lambda link: int(link.row["seq"])),
            progress=stand.get(query_id),
            checkpoints=sorted(covered[query_id], key=lambda row: int(row["seal"])),
            tombstone=stones.get(query_id),
        )
        for query_id in ids
    ]


def _rows(connection: Connection, table: Table, ids: Sequence[str]) -> list[Fields]:
    rows = connection.execute(select(table).where(table.c.query_id.in_(ids)))
    return [dict(row._mapping) for row in rows]
