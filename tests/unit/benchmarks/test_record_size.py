"""The record that the benchmark of its size fills is one as coordinators write it."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from benchmarks.pipeline.record_size import ask, table_scans
from benchmarks.pipeline.record_size_fill import STEPS_A_QUERY, fill, query_name
from colm.db.audit.verify_all import AuditResult, check_everything
from colm.db.connection import connect, snapshot
from colm.db.integrity.signatures import Trust
from colm.db.reads.history import query_history
from colm.db.schema import tables
from colm.workers.audit import keys


class FilledContract:
    """Heirs give the `url` of a migrated database."""

    def test_a_filled_record_verifies_and_is_read_by_its_indexes(self, url: str) -> None:
        engine = connect(url)
        assert sum(fill(engine, 25)) == 25
        list(ask(engine, "asked-0001"))
        found = sum(check_everything(engine, Trust(check=keys.check)), AuditResult())
        assert (found.findings, found.queries, found.unchained) == ((), 26, 0)
        with snapshot(engine) as connection:
            steps = connection.scalar(select(func.count()).select_from(tables.steps))
        assert steps == 26 * STEPS_A_QUERY
        filled, asked = query_history(engine, query_name(24)), query_history(engine, "asked-0001")
        assert filled is not None
        assert asked is not None
        kinds = [[type(entry.what).__name__ for entry in life.entries] for life in (filled, asked)]
        assert kinds[0] == kinds[1]
        assert table_scans(engine) == []
        engine.dispose()


class TestFilledOnSqlite(FilledContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
