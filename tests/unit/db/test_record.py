"""What a record promises of queries, on every database; here on SQLite."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from sqlalchemy import Engine

from colm.db.audit.purge import purge
from colm.db.columns import VISIBLE_NUL
from colm.db.reads.answers import answer_of, dead_letters
from colm.db.reads.history import query_history
from colm.db.record.locked_query import SqlLockedQuery
from colm.db.record.store import SqlRecord
from colm.models.errors import InvalidAsk, UnknownQuery
from colm.models.messages import MAX_COMPLETION_CHARS
from colm.models.strategies.base import Ask, Close, Decision
from colm.tasks.interfaces import QueryStore
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_query,
    a_step,
    asking,
    completed,
    dead_letter,
    history,
    record_whole_life,
)


class RecordContract(DatabaseContract):
    def test_the_record_keeps_the_contract_of_the_task_bodies(self, record: SqlRecord) -> None:
        port: QueryStore = record
        letter = dead_letter("m")
        port.add_dead_letter(letter)
        with port.begin(a_query()) as life:
            assert not life.ended

    def test_a_new_query_comes_back_as_it_was_asked(self, record: SqlRecord) -> None:
        for query in (a_query("with-server"), a_query("without-server", server=None, options={})):
            with record.begin(query):
                pass
            with record.open(query.query_id) as life:
                assert life.state.query == query
                assert life.state.steps == ()
                assert life.state.decisions == ()
                assert not life.ended

    def test_beginning_a_recorded_query_opens_what_is_recorded(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
            first = life.state
        with record.begin(a_query(question="another?")) as life:
            assert life.state == first
        assert [entry.seq for entry in history(engine).entries] == [1, 2, 3, 4]

    def test_an_unknown_query_cannot_be_opened(self, record: SqlRecord) -> None:
        with pytest.raises(UnknownQuery, match="no query query-0001"), record.open("query-0001"):
            pass

    def test_the_state_in_memory_is_the_state_read_back(self, record: SqlRecord) -> None:
        alice, bob = a_step(participant="alice"), a_step(participant="bob")
        with record.begin(a_query()) as life:
            life.apply(asking(alice, bob), NOW)
            asked = life.state
        with record.open("query-0001") as life:
            assert life.state == asked
            life.add_outcome(alice, completed("nul \x00"))
            life.apply(asking(a_step(round=2), close=bob), LATER)
            grown = life.state
        with record.open("query-0001") as life:
            assert life.state == grown

    def test_what_databases_refuse_in_a_text_is_replaced_visibly(self, record: SqlRecord) -> None:
        decision = Decision(kind="k", round=1, reason="\x00", detail={"\x00": ["\x00", "\ud83e"]})
        with record.begin(a_query(question="why\x00?")) as life:
            life.apply(Ask(steps=(), wake_at=NOW, decisions=(decision,)), NOW)
        with record.open("query-0001") as life:
            assert life.state.query.question == f"why{VISIBLE_NUL}?"
            (kept,) = life.state.decisions
            assert kept.reason == VISIBLE_NUL
            assert kept.detail == {VISIBLE_NUL: [VISIBLE_NUL, "\\ud83e"]}

    def test_the_longest_completion_is_kept_whole(self, record: SqlRecord) -> None:
        text = "🦙" * MAX_COMPLETION_CHARS
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
            life.add_outcome(a_step(), completed(text))
        with record.open("query-0001") as life:
            (step,) = life.state.steps
            assert step.completion is not None
            assert step.completion.text == text

    def test_times_come_back_in_utc_whatever_zone_they_had(self, record: SqlRecord) -> None:
        far = timezone(timedelta(hours=-9, minutes=-30))
        with record.begin(a_query(asked_at=NOW.astimezone(far))):
            pass
        with record.open("query-0001") as life:
            asked_at = life.state.query.asked_at
        assert asked_at == NOW
        assert asked_at.utcoffset() == timedelta(0)

    def test_a_time_without_a_zone_is_refused(self, record: SqlRecord) -> None:
        with pytest.raises(Exception, match="names no time zone"):
            record.due(NOW.replace(tzinfo=None), 10)

    def test_nothing_of_a_new_life_that_raises_is_recorded(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            self._die_in(record.begin(a_query()))
        assert answer_of(engine, "query-0001").status == "unknown"

    def test_nothing_of_a_later_life_that_raises_is_recorded(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
        before = history(engine)
        with pytest.raises(ZeroDivisionError):
            self._die_in(record.open("query-0001"))
        assert history(engine) == before

    def _die_in(self, opening: AbstractContextManager[SqlLockedQuery]) -> None:
        with opening as life:
            life.apply(asking(a_step(round=2)), NOW)
            life.add_outcome(a_step(round=2), completed())
            raise ZeroDivisionError

    def test_closing_what_was_never_asked_is_an_error(self, record: SqlRecord) -> None:
        stray = Ask(steps=(), wake_at=NOW, closes=(Close(step_id="x", reason=""),))
        with record.begin(a_query()) as life, pytest.raises(KeyError):
            life.apply(stray, NOW)

    def test_the_rows_of_a_life_are_numbered_without_gaps(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        record_whole_life(record)
        entries = history(engine).entries
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) == 15

    def test_a_refused_ask_is_kept_with_its_reason(self, record: SqlRecord, engine: Engine) -> None:
        record.refuse("query-0001", "why\x00?", "colm", "no such client", NOW)
        record.refuse("query-0001", "again?", "other", "another reason", LATER)
        found = answer_of(engine, "query-0001")
        assert (found.status, found.reason) == ("refused", "no such client")
        assert (found.question, found.strategy) == (f"why{VISIBLE_NUL}?", "colm")
        assert [entry.seq for entry in history(engine).entries] == [1, 2]
        with pytest.raises(InvalidAsk, match="no such client"), record.begin(a_query()):
            pass
        with pytest.raises(UnknownQuery, match="no such client"), record.open("query-0001"):
            pass

    def test_a_query_that_was_begun_cannot_be_refused(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        with record.begin(a_query()):
            pass
        record.refuse("query-0001", "why?", "colm", "no such client", NOW)
        assert answer_of(engine, "query-0001").status == "open"

    def test_a_purged_query_is_neither_begun_nor_refused_again(
        self, record: SqlRecord, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        record_whole_life(record)
        assert purge(engine, ["query-0001"], reason="too old", now=LATER, signer=None) == 1
        purged = r"query-0001 was purged on 2026-03-01 \(too old\) .* ask under another id"
        with pytest.raises(InvalidAsk, match=purged), record.begin(a_query()):
            pytest.fail("it was begun")
        record.refuse("query-0001", "why?", "colm", "a reason", LATER)
        assert answer_of(engine, "query-0001").status == "unknown"
        assert query_history(engine, "query-0001") is None
        assert re.search(purged, caplog.text)
        with record.begin(a_query("query-0002")) as life:
            assert not life.ended

    def test_a_dead_letter_is_kept_once(self, record: SqlRecord, engine: Engine) -> None:
        letter = dead_letter("m1", body="\x00", query_id="query-0001")
        record.add_dead_letter(letter)
        record.add_dead_letter(replace(letter, at=LATER, reason="another"))
        (kept,) = dead_letters(engine, 10)
        assert (kept.at, kept.reason, kept.body) == (NOW, "delivery_limit", VISIBLE_NUL)


class TestRecordOnSqlite(RecordContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
