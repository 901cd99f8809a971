"""What was recorded stays as it was, whatever SQL is sent; here on SQLite."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from colm.db.connection import transaction
from colm.db.record.store import SqlRecord
from colm.db.schema.audit_tables import AUDIT_TABLES
from colm.db.schema.image_table import images
from colm.db.schema.run_tables import RUN_TABLES
from colm.db.schema.tables import metadata
from tests.unit.db_examples import DatabaseContract, history, record_whole_life

#: Tables of which a query's life alone fills none or changes some.
ELSEWHERE = {"progress", *(table.name for table in (*RUN_TABLES, *AUDIT_TABLES, images))}
APPEND_ONLY = sorted(set(metadata.tables) - ELSEWHERE)


class AppendOnlyContract(DatabaseContract):
    @pytest.fixture(autouse=True)
    def _one_life(self, record: SqlRecord) -> None:
        record_whole_life(record)

    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_no_recorded_row_can_be_changed_or_removed(self, engine: Engine, table: str) -> None:
        before = history(engine)
        column = next(iter(metadata.tables[table].c)).name
        for statement in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table} WHERE {column} IS NOT NULL",
        ):
            with pytest.raises(IntegrityError, match=f"{table} is append-only: what was recorded"):
                self.execute(engine, statement)
        assert history(engine) == before

    def execute(self, engine: Engine, statement: str) -> None:
        with transaction(engine) as connection:
            connection.execute(text(statement))


class TestAppendOnlyOnSqlite(AppendOnlyContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url

    def test_replacing_a_row_is_refused(self, engine: Engine) -> None:
        statement = "INSERT OR REPLACE INTO answers SELECT * FROM answers"
        with pytest.raises(IntegrityError, match="answers is append-only"):
            self.execute(engine, statement)
