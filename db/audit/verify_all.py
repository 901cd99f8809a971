"""The audit: reads the record back in small batches and has every query verified.

Each batch is one consistent view, so that a query which is being worked on is seen whole. Never
more than a batch is in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from colm.db.audit.verify_query import NEVER_WRITTEN, Finding, QueryRows, findings
from colm.db.connection import autocommit, snapshot
from colm.db.integrity.hash_chain import Fields, Link
from colm.db.integrity.signatures import Trust
from colm.db.schema import tables
from colm.db.schema.audit_tables import covered_queries, tombstones

#: Queries that are read at once.
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was looked at, and what is wrong with it."""

    queries: int = 0
    rows: int = 0
    #: Queries recorded before rows had hashes: nothing proves their rows.
    unchained: int = 0
    #: Queries of which no checkpoint covers the latest row.
    uncovered: int = 0
    tombstones: int = 0
    checkpoints: int = 0
    findings: tuple[Finding, ...] = ()

    def __add__(self, other: Checked) -> Checked:
        return Checked(
            queries=self.queries + other.queries,
            rows=self.rows + other.rows,
            unchained=self.unchained + other.unchained,
            uncovered=self.uncovered + other.uncovered,
            tombstones=self.tombstones + other.tombstones,
            checkpoints=self.checkpoints + other.checkpoints,
            findings=self.findings + other.findings,
        )


def check_query(engine: Engine, query_id: str, trust: Trust) -> Checked:
    """One query, or what is left of it. Nothing checked means that nothing is known of it."""
    return _check(engine, [query_id], trust)


def check_everything(
    engine: Engine, trust: Trust, latest_checkpoint: tuple[int, str] | None = None
) -> Iterator[Checked]:
    """The whole database, batch by batch.

    `latest_checkpoint`: number and hash of the latest checkpoint that is known from elsewhere.
    """
    with snapshot(engine) as connection:
        yield Checked(findings=tuple(database_findings(connection)))
    for ids in (
        tables.queries.c.query_id,
        tombstones.c.query_id,
    ):
        for batch in _batches(engine, ids):
            yield _check(engine, batch, trust)
    for table in (*tables.CHAINED[1:], tables.progress, covered_queries):
        unknown = _unknown(table)
        for batch in _batches(engine, table.c.query_id, unknown):
            yield _check(engine, batch, trust)
    for checkpoints, found in checkpoint_findings(engine, trust, latest_checkpoint):
        yield Checked(checkpoints=checkpoints, findings=tuple(found))


def count_queries(engine: Engine) -> int:
    """How many queries and tombstones there are to check."""
    parts = [select(func.count()).select_from(t) for t in (tables.queries, tombstones)]
    with autocommit(engine) as connection:
        return sum(connection.execute(union_all(*parts)).scalars())


def _unknown(table: Table) -> Any:
    """Rows of a query that has neither a row of its own nor a tombstone."""
    return and_(
        ~exists().where(tables.queries.c.query_id == table.c.query_id),
        ~exists().where(tombstones.c.query_id == table.c.query_id),
    )


def _batches(engine: Engine, ids: Column[str], *which: Any) -> Iterator[list[str]]:
    """The ids in the column, each once, in the database's own order."""
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


def _check(engine: Engine, ids: Sequence[str], trust: Trust) -> Checked:
    try:
        with snapshot(engine) as connection:
            found = remains_of(connection, ids)
    except NEVER_WRITTEN as error:
        if len(ids) == 1:
            return _unreadable(ids[0], error)
        return sum((_check(engine, [one], trust) for one in ids), Checked())
    return sum((_checked(remains, trust) for remains in found), Checked())


def _unreadable(query_id: str, error: Exception) -> Checked:
    told = f"holds a value that CoLM never writes: {error}"
    finding = Finding(query_id=query_id, table="any", row="one of its rows", what=told)
    return Checked(queries=1, findings=(finding,))


def _checked(remains: QueryRows, trust: Trust) -> Checked:
    if (
        not remains.links
        and not remains.checkpoints
        and not remains.tombstone
        and not remains.progress
    ):
        return Checked()
    covered = max((member["length"] for member in remains.checkpoints), default=0)
    return Checked(
        queries=int(bool(remains.links)),
        rows=len(remains.links),
        unchained=int(remains.unchained),
        uncovered=int(bool(remains.links) and covered < remains.links[-1].row["seq"]),
        tombstones=int(remains.tombstone is not None),
        findings=tuple(findings(remains, trust)),
    )


def remains_of(connection: Connection, ids: Sequence[str]) -> list[QueryRows]:
    """All that is there of these ids, in their order. Raises ValueError for what we never write."""
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
    found = connection.execute(select(table).where(table.c.query_id.in_(ids)))
    return [dict(row._mapping) for row in found]
