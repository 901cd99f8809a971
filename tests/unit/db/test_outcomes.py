"""What a record promises of steps and what becomes of them; here on SQLite."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from colm.db.connection import snapshot
from colm.db.integrity.hash_chain import row_hash
from colm.db.record.store import SqlRecord
from colm.db.schema.tables import outcomes
from colm.models.messages import Step
from colm.models.strategies.base import Wait
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_query,
    a_step,
    asking,
    completed,
    failed,
    finishing,
    history,
)


class OutcomesContract(DatabaseContract):
    def test_the_first_outcome_decides_and_a_repeat_changes_nothing(
        self, record: SqlRecord
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
            assert life.add_outcome(a_step(), completed("first")) == "recorded"
            assert life.add_outcome(a_step(), failed()) == "repeated"
        with record.open("query-0001") as life:
            before = life.state
            assert life.add_outcome(a_step(), completed("second")) == "repeated"
            assert life.state == before
        with record.open("query-0001") as life:
            assert life.state == before

    @pytest.mark.parametrize(
        "stranger",
        [
            a_step(participant="mallory"),
            a_step(round=2),
            a_step(act="refine"),
            a_step(index=1),
            a_step("query-0002"),
        ],
        ids=lambda step: step.step_id,
    )
    def test_what_was_never_asked_is_not_stored(
        self, record: SqlRecord, engine: Engine, stranger: Step
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
        before = history(engine)
        with record.open("query-0001") as life:
            assert life.add_outcome(stranger, completed()) == "unasked"
        assert history(engine) == before

    def test_a_closed_step_has_expired_with_the_reason(self, record: SqlRecord) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
            life.apply(asking(close=a_step()), LATER)
        with record.open("query-0001") as life:
            (step,) = life.state.steps
            assert step.outcome is not None
            assert (step.outcome.status, step.outcome.at) == ("expired", LATER)
            assert step.outcome.reason == "expired: too slow"

    def test_a_thought_is_recorded_apart_from_the_text(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step(), a_step(index=1)), NOW)
            life.add_outcome(a_step(), completed("It is 42.", thought="so 41?"))
            life.add_outcome(a_step(index=1), completed("It is 43.", thought=""))
            now = life.state
        with record.open("query-0001") as life:
            assert life.state == now
            found = [step.completion for step in life.state.steps]
        assert [each and each.thought for each in found] == ["so 41?", ""]
        with snapshot(engine) as connection:
            rows = connection.execute(select(outcomes.c.thought, outcomes.c.digests)).all()
        # No thought is no value, so that older records hash as they did.
        assert [(row.thought is None, "thought" in row.digests) for row in rows] == [
            (False, True),
            (True, False),
        ]

    def test_the_adapter_is_recorded_and_is_no_value_where_there_is_none(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        outcome = completed("It is 42.")
        assert outcome.completion is not None
        with_adapter = replace(
            outcome, completion=outcome.completion.model_copy(update={"adapter": "a" * 64})
        )
        with record.begin(a_query()) as life:
            life.apply(asking(a_step(), a_step(index=1)), NOW)
            life.add_outcome(a_step(), with_adapter)
            life.add_outcome(a_step(index=1), completed("It is 43."))
            now = life.state
        with record.open("query-0001") as life:
            assert life.state == now
        with snapshot(engine) as connection:
            rows = [row._asdict() for row in connection.execute(select(outcomes))]
        assert [row["adapter"] for row in rows] == ["a" * 64, None]
        # It is part of the hash, and older records hash as they did.
        before = {name: value for name, value in rows[1].items() if name != "adapter"}
        assert row_hash("outcomes", before, rows[0]["hash"]) == rows[1]["hash"]
        changed = {**rows[0], "adapter": "b" * 64}
        assert row_hash("outcomes", changed, None) != row_hash("outcomes", rows[0], None)

    def test_what_comes_for_a_closed_step_is_kept_as_late_and_once(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
            life.apply(asking(close=a_step()), LATER)
            before = life.state
        again = replace(completed(), at=LATER + timedelta(seconds=1))
        for outcome, receipt in (
            (completed(), "late"),
            (again, "repeated"),
            (completed("other words"), "late"),
            (failed(), "late"),
        ):
            with record.open("query-0001") as life:
                assert life.add_outcome(a_step(), outcome) == receipt
                assert life.add_outcome(a_step(), outcome) == "repeated"
                assert life.state == before
        statuses = [
            what.outcome.status
            for entry in history(engine).entries
            if hasattr(what := entry.what, "outcome")
        ]
        assert statuses == ["expired", "late", "late", "late"]

    def test_an_ended_query_takes_only_late_outcomes(self, record: SqlRecord) -> None:
        alice, bob = a_step(participant="alice"), a_step(participant="bob")
        with record.begin(a_query()) as life:
            life.apply(asking(alice, bob), NOW)
            life.add_outcome(alice, completed())
            life.apply(finishing(), LATER)
            assert life.ended
        with record.open("query-0001") as life:
            assert life.ended
            assert life.add_outcome(bob, completed()) == "late"
            assert life.add_outcome(alice, completed()) == "repeated"
            with pytest.raises(ValueError, match="has ended"):
                life.apply(Wait(wake_at=LATER), LATER)
        with record.open("query-0001") as life:
            assert [step.open for step in life.state.steps] == [False, True]

    def test_asking_or_closing_twice_changes_nothing(self, record: SqlRecord) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
            life.apply(asking(a_step(), close=a_step()), LATER)
            life.apply(asking(close=a_step()), LATER + timedelta(seconds=1))
        with record.open("query-0001") as life:
            (step,) = life.state.steps
            assert step.asked_at == NOW
            assert step.outcome is not None
            assert step.outcome.at == LATER


class TestOutcomesOnSqlite(OutcomesContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
