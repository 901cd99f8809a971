"""What a permit lets through, and for whom; here on SQLite."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert, text, update
from sqlalchemy.exc import IntegrityError

from colm.db.audit.checkpoints import write_checkpoint
from colm.db.audit.erase import erase
from colm.db.audit.purge import ended_before, purge
from colm.db.connection import snapshot, transaction
from colm.db.integrity.hash_chain import TEXTS
from colm.db.reads.history import QueryEnded, StepRedelivered
from colm.db.record.store import SqlRecord
from colm.db.schema import tables, triggers
from colm.db.schema.audit_tables import checkpoints, covered_queries, erasures, permits, tombstones
from colm.db.schema.run_tables import run_states, runs
from colm.db.schema.triggers import with_permit
from colm.models.errors import CallerError
from colm.models.messages import Answer, Completion, Query, Step
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_query,
    finishing,
    history,
    record_whole_life,
)


class PermitsContract(DatabaseContract):
    @pytest.fixture(autouse=True)
    def _one_life(self, record: SqlRecord) -> None:
        record_whole_life(record)

    def try_to(self, engine: Engine, operation: triggers.Operation, statement: str) -> bool:
        """Whether the statement gets through with this permit; it is rolled back either way."""
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO permits VALUES (:name)"), {"name": operation})
            try:
                connection.execute(text(statement))
            except IntegrityError as error:
                if "append-only" not in str(error):
                    raise
                return False
            return True

    def test_an_erasure_may_replace_texts_and_nothing_else(self, engine: Engine) -> None:
        for table in (*tables.CHAINED[:-1], tables.dead_letters):
            texts = {*TEXTS.get(table.name, ()), "salts"} if table.name in TEXTS else {"body"}
            assert not self.try_to(engine, "erase", f"DELETE FROM {table.name} WHERE 1 = 1"), table
            for column in table.c:
                same = f'UPDATE {table.name} SET "{column.name}" = "{column.name}"'
                may = column.name in texts
                assert self.try_to(engine, "erase", same) == may, column
                assert not self.try_to(engine, "purge", same), column

    def test_a_purge_may_remove_rows_of_a_query_and_no_checkpoint(self, engine: Engine) -> None:
        gone = (tables.answers, tables.decisions, tables.dead_letters, tables.dispatches)
        for table in gone:
            assert self.try_to(engine, "purge", f"DELETE FROM {table.name} WHERE 1 = 1"), table

    def test_a_permit_ends_with_its_transaction(self, engine: Engine) -> None:
        with (
            pytest.raises(ZeroDivisionError),
            transaction(engine) as connection,
            with_permit(connection, "erase"),
        ):
            raise ZeroDivisionError
        with transaction(engine) as connection, with_permit(connection, "purge"):
            connection.execute(text("DELETE FROM dead_letters"))
        with snapshot(engine) as connection:
            assert connection.execute(permits.select()).all() == []
        with (
            pytest.raises(IntegrityError, match="answers is append-only"),
            transaction(engine) as connection,
        ):
            connection.execute(text("DELETE FROM answers"))

    def test_what_proves_is_never_changed_or_removed(self, engine: Engine) -> None:
        class Key:
            key = "a key"

            def sign(self, statement: bytes) -> str:
                return str(len(statement))

        key = Key()
        record_whole_life(SqlRecord(engine), "query-0002")
        erase(engine, "query-0001", asked_by="me", reason="asked", now=LATER, signer=None)
        assert purge(engine, ["query-0002"], reason="old", now=LATER, signer=None) == 1
        assert write_checkpoint(engine, key, LATER) is not None
        for table in (checkpoints, covered_queries, tombstones, erasures):
            column = next(iter(table.c)).name
            for statement in (
                f"UPDATE {table.name} SET {column} = {column}",
                f"DELETE FROM {table.name} WHERE 1 = 1",
            ):
                for operation in ("erase", "purge"):
                    may = table is erasures and operation == "purge" and "DELETE" in statement
                    assert self.try_to(engine, operation, statement) == may, statement

    def test_a_purge_takes_what_has_ended_and_nothing_open(
        self, engine: Engine, record: SqlRecord
    ) -> None:
        with record.begin(a_query("query-0002")):
            pass
        assert ended_before(engine, LATER, 10) == []
        assert ended_before(engine, LATER.replace(year=2027), 10) == ["query-0001"]
        both = ["query-0001", "query-0002"]
        assert purge(engine, both, reason="old", now=LATER, signer=None) == 1
        assert purge(engine, both, reason="old", now=LATER, signer=None) == 0
        assert len(history(engine, "query-0002").entries) == 1

    def test_queries_of_a_run_that_goes_on_are_left_alone(
        self, engine: Engine, record: SqlRecord
    ) -> None:
        with record.begin(a_query("query-0002", run="night")) as life:
            life.apply(finishing("query-0002"), LATER)
        with transaction(engine) as connection:
            connection.execute(insert(runs), {"run": "night", "config": {}, "ordered_at": NOW})
            connection.execute(insert(run_states), {"run": "night", "state": "paused"})
        year = LATER.replace(year=2027)
        assert ended_before(engine, year, 10) == ["query-0001"]
        with pytest.raises(CallerError, match="run night, which has not ended"):
            erase(engine, "query-0002", asked_by="me", reason="asked", now=NOW, signer=None)
        with transaction(engine) as connection:
            connection.execute(update(run_states).values(state="done"))
        assert ended_before(engine, year, 10) == ["query-0001", "query-0002"]
        assert erase(engine, "query-0002", asked_by="me", reason="x", now=NOW, signer=None) == 3

    def test_what_is_erased_still_reads_as_messages(
        self, engine: Engine, record: SqlRecord
    ) -> None:
        erase(engine, "query-0001", asked_by="me", reason="asked", now=NOW, signer=None)
        kinds = {type(entry.what).__name__ for entry in history(engine).entries}
        events = {"QueryAsked", "Step", "StepOutcome", "Decision", "QueryEnded", "TextsErased"}
        assert events <= kinds
        with record.open("query-0001") as life:
            state = life.state
        assert isinstance(state.query, Query)
        assert {type(s.step) for s in state.steps} == {Step}
        completions = [s.completion for s in state.steps if s.completion is not None]
        assert {type(completion) for completion in completions} == {Completion}
        told = [e.what for e in history(engine).entries if not isinstance(e.what, StepRedelivered)]
        assert "Größe" not in str(told).replace(_personas(state.query), "")
        (ended,) = [what for what in told if isinstance(what, QueryEnded)]
        assert isinstance(ended.answer, Answer)


def _personas(query: Query) -> str:
    """Who is asked is the site's own text and stays."""
    return repr(query.clients)


class TestPermitsOnSqlite(PermitsContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
