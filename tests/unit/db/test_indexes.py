"""Every read finds its rows by an index, however long the record grows; here on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from colm.db.connection import snapshot
from colm.db.reads.answers import answer_of, dead_letters, has_ended, recent_queries
from colm.db.reads.history import query_history
from colm.db.record.store import SqlRecord
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_step,
    completed,
    record_whole_life,
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    sql: str
    parameters: Any


def open_and_submit(record: SqlRecord) -> None:
    with record.open("query-0001") as life:
        life.add_outcome(a_step(participant="bob"), completed("even later"))


Read = Callable[[Engine], object]

#: Reads that return the first rows of an order: they must not sort all rows to find them.
ORDERED: dict[str, Read] = {
    "due": lambda engine: SqlRecord(engine).due(LATER, 10),
    "latest": lambda engine: recent_queries(engine, 10),
    "latest answered": lambda engine: recent_queries(engine, 10, "answered"),
    "dead letters": lambda engine: dead_letters(engine, 10),
}
READS: dict[str, Read] = ORDERED | {
    "open": lambda engine: open_and_submit(SqlRecord(engine)),
    "stranded": lambda engine: SqlRecord(engine).stranded(NOW, 10),
    "latest open": lambda engine: recent_queries(engine, 10, "open"),
    "answer": lambda engine: answer_of(engine, "query-0001"),
    "has ended": lambda engine: has_ended(engine, "query-0001"),
    "life": lambda engine: query_history(engine, "query-0001"),
}


class IndexContract(DatabaseContract):
    @pytest.fixture(autouse=True)
    def _one_life(self, record: SqlRecord) -> None:
        record_whole_life(record)

    @pytest.mark.parametrize("read", READS)
    def test_a_read_walks_through_no_table(self, engine: Engine, read: str) -> None:
        for statement in selects_of(engine, READS[read]):
            with snapshot(engine) as connection:
                plan = self.plan(connection, statement)
            assert self.walks(plan) == [], (statement.sql, plan)

    @pytest.mark.parametrize("read", ORDERED)
    def test_the_first_rows_are_found_without_sorting_the_rest(
        self, engine: Engine, read: str
    ) -> None:
        (statement,) = selects_of(engine, ORDERED[read])
        with snapshot(engine) as connection:
            plan = self.plan(connection, statement)
        assert self.sorts(plan) == [], (statement.sql, plan)

    def plan(self, connection: Connection, statement: Statement) -> list[str]:
        raise NotImplementedError

    def walks(self, plan: list[str]) -> list[str]:
        raise NotImplementedError

    def sorts(self, plan: list[str]) -> list[str]:
        raise NotImplementedError


def selects_of(engine: Engine, read: Read) -> list[Statement]:
    found = []

    def note(_1: object, _2: object, sql: str, parameters: object, *_: object) -> None:
        if sql.startswith("SELECT"):
            found.append(Statement(sql=sql, parameters=parameters))

    event.listen(engine, "before_cursor_execute", note)
    read(engine)
    event.remove(engine, "before_cursor_execute", note)
    assert found
    return found


class TestIndexesOnSqlite(IndexContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url

    def plan(self, connection: Connection, statement: Statement) -> list[str]:
        explain = f"EXPLAIN QUERY PLAN {statement.sql}"
        rows = connection.exec_driver_sql(explain, statement.parameters)
        return [row.detail for row in rows]

    def walks(self, plan: list[str]) -> list[str]:
        scans = [line for line in plan if line.startswith("SCAN")]
        return [line for line in scans if "INDEX" not in line and "CONSTANT ROW" not in line]

    def sorts(self, plan: list[str]) -> list[str]:
        return [line for line in plan if "TEMP B-TREE" in line]
