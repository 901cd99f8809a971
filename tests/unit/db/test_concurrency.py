"""What a record promises to threads and processes that use it at once; here on SQLite."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine

from colm.db.record.store import SqlRecord
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
    finishing,
    history,
)

T = TypeVar("T")
R = TypeVar("R")

#: Opens a query, adds an outcome, says so, and never comes to the end of the block.
HOLDER = """
import sys, time
from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from tests.unit.db_examples import a_step, completed

with SqlRecord(connect(sys.argv[1])).open("query-0001") as life:
    life.add_outcome(a_step(), completed())
    print("held", flush=True)
    time.sleep(60)
"""


def all_at_once(act: Callable[[T], R], on: Sequence[T]) -> list[R]:
    """`act` on each in a thread of its own, started together."""
    start = threading.Barrier(len(on))

    def wait_and_act(item: T) -> R:
        start.wait()
        return act(item)

    with ThreadPoolExecutor(len(on)) as pool:
        return list(pool.map(wait_and_act, on))


class ConcurrencyContract(DatabaseContract):
    def test_outcomes_of_one_query_sent_at_once_are_each_recorded_once(
        self, record: SqlRecord, engine: Engine
    ) -> None:
        steps = [a_step(index=index) for index in range(8)]
        with record.begin(a_query()) as life:
            life.apply(asking(*steps), NOW)

        def submit(step: Step) -> str:
            with record.open("query-0001") as life:
                receipt = life.add_outcome(step, completed(step.step_id))
                life.apply(Wait(wake_at=LATER), LATER)
            return receipt

        receipts = Counter(all_at_once(submit, steps * 2))
        assert receipts == {"recorded": 8, "repeated": 8}
        with record.open("query-0001") as life:
            texts = [s.completion.text for s in life.state.steps if s.completion]
        assert texts == [step.step_id for step in steps]
        entries = history(engine).entries
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))

    def test_a_query_begun_by_many_is_begun_once(self, record: SqlRecord, engine: Engine) -> None:
        def begin(question: str) -> str:
            with record.begin(a_query(question=question)) as life:
                if not life.state.steps:
                    life.apply(asking(a_step()), NOW)
                return life.state.query.question

        seen = all_at_once(begin, [f"question {n}" for n in range(8)])
        assert len(set(seen)) == 1
        assert len(history(engine).entries) == 4

    def test_only_one_of_many_ends_a_query(self, record: SqlRecord, engine: Engine) -> None:
        with record.begin(a_query()):
            pass

        def finish(number: int) -> bool:
            with record.open("query-0001") as life:
                if life.ended:
                    return False
                life.apply(finishing(answer=f"answer {number}"), LATER)
                return True

        assert sum(all_at_once(finish, range(8))) == 1
        assert len(history(engine).entries) == 3

    def test_a_life_waits_for_the_one_before_and_sees_what_it_did(self, record: SqlRecord) -> None:
        with record.begin(a_query()):
            pass
        seen = []

        def second() -> None:
            with record.open("query-0001") as life:
                seen.append([s.step for s in life.state.steps])

        with record.open("query-0001") as life:
            thread = threading.Thread(target=second)
            thread.start()
            life.apply(asking(a_step()), NOW)
            thread.join(0.2)
            assert thread.is_alive()
            assert seen == []
        thread.join(5)
        assert seen == [[a_step()]]

    def test_readers_do_not_wait_for_a_life(self, record: SqlRecord, engine: Engine) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
        with record.open("query-0001") as life:
            life.add_outcome(a_step(), completed())
            assert len(history(engine).entries) == 4
            assert record.due(LATER, 10) == ["query-0001"]

    @pytest.mark.timeout(60)
    def test_a_killed_process_leaves_its_query_as_it_was(
        self, record: SqlRecord, engine: Engine, url: str
    ) -> None:
        with record.begin(a_query()) as life:
            life.apply(asking(a_step()), NOW)
        before = history(engine)
        command = [sys.executable, "-c", HOLDER, url]
        root = Path(__file__).parents[3]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGKILL)
        assert history(engine) == before
        with record.open("query-0001") as life:
            assert life.add_outcome(a_step(), completed()) == "recorded"


class TestConcurrencyOnSqlite(ConcurrencyContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
