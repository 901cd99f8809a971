"""What a record promises of steps that may have killed their worker; here on SQLite."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from colm.db.reads.history import StepRedelivered
from colm.db.record.store import SqlRecord
from colm.models.redelivery import Redelivery
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_query,
    a_step,
    an_attempt,
    asking,
    completed,
    finishing,
    history,
)

STEP = a_step()


class AttemptsContract(DatabaseContract):
    @pytest.fixture(autouse=True)
    def _asked(self, record: SqlRecord) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(STEP), NOW)

    def test_what_is_told_of_an_open_step_is_kept_once_and_in_order(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        first, second = an_attempt(STEP), an_attempt(STEP, "attempt-2", kind="alone")
        with record.open("query-0001") as life:
            assert life.add_attempt(first, NOW) == "recorded"
            assert life.add_attempt(first, LATER) == "repeated"
        with record.open("query-0001") as life:
            assert life.add_attempt(first, LATER) == "repeated"
            assert life.add_attempt(second, LATER) == "recorded"
        expected = (
            Redelivery(attempt_id="attempt-1", kind="returned", worker=first.worker, at=NOW),
            Redelivery(attempt_id="attempt-2", kind="alone", worker=first.worker, at=LATER),
        )
        with record.open("query-0001") as life:
            assert life.redelivery_history(STEP.step_id) == expected
        told = [e.what for e in history(engine).entries if isinstance(e.what, StepRedelivered)]
        assert told == [
            StepRedelivered(step_id=STEP.step_id, redelivery=tried) for tried in expected
        ]

    def test_what_is_told_of_a_step_that_is_over_changes_nothing(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        other = a_step(participant="bob")
        with record.open("query-0001") as life:
            life.apply(asking(other), NOW)
            life.add_outcome(STEP, completed())
            assert life.add_attempt(an_attempt(STEP), LATER) == "late"
            assert life.add_attempt(an_attempt(a_step(participant="mallory")), LATER) == "unasked"
            life.apply(finishing(), LATER)
        before = history(engine)
        with record.open("query-0001") as life:
            assert life.add_attempt(an_attempt(other), LATER) == "late"
        assert history(engine) == before

    def test_an_id_that_another_query_took_can_still_be_used(self, record: SqlRecord) -> None:
        stranger = a_step("query-0002")
        with record.begin(a_query("query-0002")) as life:
            life.apply(asking(stranger), NOW)
            assert life.add_attempt(an_attempt(stranger), NOW) == "recorded"
        with record.open("query-0001") as life:
            assert life.add_attempt(an_attempt(STEP), NOW) == "recorded"


class TestAttemptsOnSqlite(AttemptsContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
