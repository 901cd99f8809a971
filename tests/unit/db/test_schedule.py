"""What a record promises of work that waits to be done; here on SQLite."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from colm.db.record.store import SqlRecord
from colm.models.strategies.base import Wait
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_query,
    a_step,
    asking,
    failed,
    finishing,
    history,
)


class ScheduleContract(DatabaseContract):
    def test_due_queries_are_open_ones_whose_time_has_come_oldest_first(
        self, record: SqlRecord
    ) -> None:
        for number, seconds in enumerate((3, 1, 2, 60)):
            with record.begin(a_query(f"due-query-{number}")) as life:
                life.apply(Wait(wake_at=NOW + timedelta(seconds=seconds)), NOW)
        with record.begin(a_query("new-query")):
            pass
        with record.begin(a_query("ended-query")) as life:
            life.apply(finishing("ended-query"), NOW)
        record.refuse("refused-query", "why?", "colm", "reason", NOW)
        due = ["new-query", "due-query-1", "due-query-2", "due-query-0"]
        assert record.due(NOW + timedelta(seconds=3), 10) == due
        assert record.due(NOW + timedelta(seconds=3), 2) == due[:2]

    def test_stranded_steps_are_open_and_were_never_dispatched(self, record: SqlRecord) -> None:
        names = ("alice", "bob", "carol", "dave")
        steps = [a_step(participant=name) for name in names]
        with record.begin(a_query()) as life:
            life.apply(asking(*steps), NOW)
            life.apply(asking(a_step(round=2)), LATER)
            life.add_outcome(steps[1], failed())
        with record.begin(a_query("ended-query")) as life:
            life.apply(asking(a_step("ended-query")), NOW)
            life.apply(finishing("ended-query"), NOW)
        record.mark_dispatched([steps[2].step_id], NOW)
        assert record.stranded(LATER, 10) == [steps[0], steps[3]]
        assert record.stranded(LATER, 1) == [steps[0]]
        assert record.stranded(NOW, 10) == []

    def test_marking_steps_as_dispatched_again_is_harmless(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        steps = [a_step(index=index) for index in range(3_000)]
        with record.begin(a_query()) as life:
            life.apply(asking(*steps), NOW)
        for _ in range(2):
            record.mark_dispatched([step.step_id for step in steps], NOW)
        record.mark_dispatched([], NOW)
        record.mark_dispatched([steps[0].step_id] * 2, LATER)
        dispatched = [mark.step_id for mark in history(engine).dispatches]
        assert len(dispatched) == 3_001
        assert set(dispatched) == {step.step_id for step in steps}


class TestScheduleOnSqlite(ScheduleContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
