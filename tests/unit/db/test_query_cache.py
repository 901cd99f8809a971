"""A large query is not read again by who knows it as it stands, and always by who does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from colm.db.audit.erase import erase
from colm.db.connection import connect
from colm.db.record.query_cache import MAX_STEPS, MIN_STEPS, QueryCache
from colm.db.record.store import SqlRecord
from colm.models.strategies.base import QueryState, StepState
from tests.unit.db_examples import (
    LATER,
    NOW,
    a_query,
    a_step,
    asking,
    completed,
    failed,
    finishing,
)

STEPS = [a_step(participant=f"client-{number}") for number in range(MIN_STEPS + 1)]


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    engine = connect(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def reads(engine: Engine) -> list[str]:
    """The statements that read all steps of a query."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT steps."):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return found


@pytest.fixture
def record(engine: Engine) -> SqlRecord:
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(*STEPS), NOW)
    return record


def state_of(record: SqlRecord) -> QueryState:
    with record.open("query-0001") as life:
        return life.state


def submit(record: SqlRecord, number: int) -> None:
    with record.open("query-0001") as life:
        assert life.add_outcome(STEPS[number], completed(f"nul \x00 {number}")) == "recorded"


def test_whoever_moves_a_large_query_reads_its_steps_once(
    record: SqlRecord, engine: Engine, reads: list[str]
) -> None:
    for number in range(5):
        submit(record, number)
    assert len(reads) == 1
    assert state_of(record) == state_of(SqlRecord(engine))


def test_what_another_process_has_recorded_is_read(
    record: SqlRecord, engine: Engine, reads: list[str]
) -> None:
    other = SqlRecord(engine)
    for number in range(0, 6, 2):
        submit(record, number)
        submit(other, number + 1)
        assert state_of(record) == state_of(SqlRecord(engine))
    assert len(reads) >= 6


def fail_within(record: SqlRecord) -> None:
    with record.open("query-0001") as life:
        life.add_outcome(STEPS[1], failed())
        raise ZeroDivisionError


def test_what_was_rolled_back_is_not_known(record: SqlRecord, engine: Engine) -> None:
    submit(record, 0)
    with pytest.raises(ZeroDivisionError):
        fail_within(record)
    assert state_of(record) == state_of(SqlRecord(engine))
    submit(record, 1)
    assert state_of(record) == state_of(SqlRecord(engine))


def test_a_query_that_has_ended_or_was_erased_is_read(record: SqlRecord, engine: Engine) -> None:
    submit(record, 0)
    with record.open("query-0001") as life:
        life.apply(finishing(), LATER)
    with record.open("query-0001") as life:
        assert life.ended
    erase(engine, "query-0001", asked_by="somebody", reason="why", now=LATER, signer=None)
    assert state_of(record) == state_of(SqlRecord(engine))


def test_a_query_of_an_ordinary_size_is_read_each_time(engine: Engine, reads: list[str]) -> None:
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(*STEPS[:3]), NOW)
    for number in range(3):
        submit(record, number)
    assert len(reads) == 3


def state(steps: int) -> QueryState:
    one = StepState(step=STEPS[0], asked_at=NOW)
    return QueryState(query=a_query(), steps=(one,) * steps)


def test_what_is_kept_is_bounded_and_the_latest_is_always_kept() -> None:
    kept = QueryCache()
    for number in range(5):
        kept.put(str(number), "head", state(MAX_STEPS // 2), ended=False)
    assert [number for number in range(5) if kept.get(str(number), "head")] == [3, 4]
    kept.put("huge", "head", state(3 * MAX_STEPS), ended=False)
    assert kept.get("huge", "head") is not None
    assert kept.get("4", "head") is None
    kept.put("huge", None, state(MAX_STEPS), ended=False)
    assert kept.get("huge", None) is None
