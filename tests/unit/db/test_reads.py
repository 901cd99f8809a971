"""What callers and the command line read from a record; here on SQLite."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from statistics import median
from typing import cast

import pytest
from sqlalchemy import Engine

from colm.db.reads.answers import (
    AnswerState,
    Status,
    answer_of,
    dead_letters,
    has_ended,
    recent_queries,
)
from colm.db.reads.completion_listener import wait_for_answer
from colm.db.reads.history import (
    QueryAsked,
    QueryEnded,
    RoundStarted,
    StepOutcome,
    StepRedelivered,
    query_history,
)
from colm.db.record.store import SqlRecord
from colm.models.messages import Step
from colm.models.strategies.base import Decision
from tests.unit.db_examples import (
    LATER,
    NOW,
    DatabaseContract,
    a_query,
    a_step,
    an_answer,
    asking,
    dead_letter,
    finishing,
    history,
    record_whole_life,
)


class ReadsContract(DatabaseContract):
    def test_an_answer_is_unknown_then_open_then_there(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        assert answer_of(engine, "query-0001") == AnswerState(
            query_id="query-0001", status="unknown"
        )
        query = a_query()
        with record.begin(query) as life:
            life.apply(asking(a_step()), NOW)
        found = answer_of(engine, "query-0001")
        assert found == AnswerState(
            query_id="query-0001",
            status="open",
            question=query.question,
            strategy="colm",
            asked_at=NOW,
            deadline_at=NOW + timedelta(seconds=100),
        )
        assert not has_ended(engine, "query-0001")
        with record.open("query-0001") as life:
            life.apply(finishing(), LATER)
        found = answer_of(engine, "query-0001")
        assert (found.status, found.answer, found.ended_at) == ("answered", an_answer(), LATER)
        assert has_ended(engine, "query-0001")

    def test_a_failed_query_says_why(self, record: SqlRecord, engine: Engine) -> None:
        with record.begin(a_query()) as life:
            life.apply(finishing(status="failed", answer=None, reason="no quorum"), LATER)
        found = answer_of(engine, "query-0001")
        assert (found.status, found.reason) == ("failed", "no quorum")
        assert found.answer == an_answer(status="failed", answer=None, reason="no quorum")

    def test_a_life_is_told_whole_and_in_order(self, record: SqlRecord, engine: Engine) -> None:
        assert query_history(engine, "query-0001") is None
        record_whole_life(record)
        life = history(engine)
        kinds = [type(entry.what) for entry in life.entries]
        assert kinds == [
            *(QueryAsked, Decision, RoundStarted, Step, Step),
            *(StepRedelivered, StepOutcome, StepOutcome, Decision, RoundStarted, Step),
            *(StepOutcome, StepOutcome, Decision, QueryEnded),
        ]
        outcomes = [e.what.outcome for e in life.entries if isinstance(e.what, StepOutcome)]
        assert [outcome.status for outcome in outcomes] == [
            *("completed", "expired", "late", "failed")
        ]
        assert life.entries[0].what == QueryAsked(
            question=a_query().question, strategy="colm", query=a_query()
        )
        assert life.entries[3].what == a_step(participant="alice")
        assert life.entries[-1].what == QueryEnded(
            status="answered", reason=None, answer=an_answer()
        )
        assert {mark.step_id for mark in life.dispatches} == {
            a_step(participant=name).step_id for name in ("alice", "bob")
        }
        assert [letter.message_id for letter in life.dead_letters] == ["letter of query-0001"]

    def test_a_refused_ask_has_a_short_life(self, record: SqlRecord, engine: Engine) -> None:
        record.refuse("query-0001", "why?", "colm", "no such client", NOW)
        assert [entry.what for entry in history(engine).entries] == [
            QueryAsked(question="why?", strategy="colm", query=None),
            QueryEnded(status="refused", reason="no such client", answer=None),
        ]

    def test_the_latest_queries_are_listed_by_status(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        statuses = ("open", "answered", "failed", "refused")
        for number in range(12):
            status, at = statuses[number % 4], NOW + timedelta(seconds=number)
            id = f"query-{number:04d}"
            if status == "refused":
                record.refuse(id, "why?", "colm", "reason", at)
                continue
            with record.begin(a_query(id, asked_at=at)) as life:
                if status != "open":
                    life.apply(finishing(id, status=status, reason="reason", ended_at=at), at)
        listed = recent_queries(engine, 5)
        assert [found.query_id for found in listed] == [
            f"query-{number:04d}" for number in (11, 10, 9, 8, 7)
        ]
        assert [found.status for found in listed] == [
            *("refused", "failed", "answered", "open", "refused")
        ]
        for offset, status in enumerate(statuses):
            found = recent_queries(engine, 2, cast(Status, status))
            assert [one.query_id for one in found] == [
                f"query-{8 + offset:04d}",
                f"query-{4 + offset:04d}",
            ]
            assert {one.status for one in found} == {status}

    def test_the_latest_dead_letters_come_first(self, record: SqlRecord, engine: Engine) -> None:
        for number in range(3):
            at = NOW + timedelta(seconds=number)
            record.add_dead_letter(dead_letter(f"m{number}", at=at))
        assert [letter.message_id for letter in dead_letters(engine, 2)] == ["m2", "m1"]

    def test_waiting_ends_at_the_timeout(self, record: SqlRecord, engine: Engine) -> None:
        with record.begin(a_query()):
            pass
        started = time.monotonic()
        assert not wait_for_answer(engine, "query-0001", 0.2)
        assert not wait_for_answer(engine, "query-0002", 0.0)
        assert 0.2 <= time.monotonic() - started < 10

    def test_waiting_for_what_has_ended_returns_at_once(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        record.refuse("query-0001", "why?", "colm", "reason", NOW)
        assert wait_for_answer(engine, "query-0001", 0.0)

    @pytest.mark.alone
    def test_a_waiting_caller_sees_the_answer_within_50_ms(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        delays = [self._delay(record, engine, f"query-{number:04d}") for number in range(9)]
        assert median(delays) < 0.050, delays

    def _delay(self, record: SqlRecord, engine: Engine, query_id: str) -> float:
        """Seconds from the commit of an answer to the return of a caller who waits for it."""
        seen: list[float] = []

        def wait() -> None:
            assert wait_for_answer(engine, query_id, 10)
            seen.append(time.monotonic())

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.1)
        with record.begin(a_query(query_id)) as life:
            life.apply(finishing(query_id), LATER)
        committed = time.monotonic()
        waiter.join(10)
        return seen[0] - committed

    def test_no_answer_is_missed_by_a_caller_who_is_just_beginning_to_wait(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        for number in range(25):
            query_id = f"query-{number:04d}"
            waiter = threading.Thread(target=wait_for_answer, args=(engine, query_id, 10))
            started = time.monotonic()
            waiter.start()
            # Ever later within the 25 ms or so that it takes to begin to listen.
            time.sleep(number / 1000)
            record.refuse(query_id, "why?", "colm", "reason", NOW)
            waiter.join(10)
            assert time.monotonic() - started < 9.5


class TestReadsOnSqlite(ReadsContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
