"""The record's promises on a real PostgreSQL, and those that only PostgreSQL makes."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from colm.db.connection import snapshot
from tests.unit.db.test_append_only import APPEND_ONLY, AppendOnlyContract
from tests.unit.db.test_attempts import AttemptsContract
from tests.unit.db.test_concurrency import ConcurrencyContract
from tests.unit.db.test_indexes import IndexContract, Statement
from tests.unit.db.test_outcomes import OutcomesContract
from tests.unit.db.test_reads import ReadsContract
from tests.unit.db.test_record import RecordContract
from tests.unit.db.test_schedule import ScheduleContract

pytestmark = pytest.mark.postgres


class OnPostgres:
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


class TestRecordOnPostgres(OnPostgres, RecordContract):
    def test_a_connection_sets_its_own_limits(self, engine: Engine) -> None:
        with snapshot(engine) as connection:
            settings = {
                name: connection.scalar(text(f"SHOW {name}"))
                for name in (
                    "application_name",
                    "lock_timeout",
                    "idle_in_transaction_session_timeout",
                )
            }
        assert list(settings.values()) == ["colm", "30s", "30s"]


class TestOutcomesOnPostgres(OnPostgres, OutcomesContract):
    pass


class TestAttemptsOnPostgres(OnPostgres, AttemptsContract):
    pass


class TestScheduleOnPostgres(OnPostgres, ScheduleContract):
    pass


class TestConcurrencyOnPostgres(OnPostgres, ConcurrencyContract):
    pass


class TestReadsOnPostgres(OnPostgres, ReadsContract):
    pass


class TestAppendOnlyOnPostgres(OnPostgres, AppendOnlyContract):
    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_no_table_can_be_emptied(self, engine: Engine, table: str) -> None:
        with pytest.raises(IntegrityError, match=f"{table} is append-only.*TRUNCATE"):
            self.execute(engine, f"TRUNCATE {table} CASCADE")


class TestIndexesOnPostgres(OnPostgres, IndexContract):
    def plan(self, connection: Connection, statement: Statement) -> list[str]:
        # So small a table would be walked through whatever indexes it has.
        for way in ("seqscan", "bitmapscan", "sort"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        rows = connection.exec_driver_sql(f"EXPLAIN {statement.sql}", statement.parameters)
        return list(rows.scalars())

    def walks(self, plan: list[str]) -> list[str]:
        return [line for line in plan if "Seq Scan" in line]

    def sorts(self, plan: list[str]) -> list[str]:
        return [line for line in plan if "Sort" in line]
