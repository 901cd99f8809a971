"""What the faults are judged by: each check is shown a record that does not pass it."""

from __future__ import annotations

from pathlib import Path

import pytest

from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from tests.chaos.caller import question_of
from tests.chaos.journal import Journal, JournalWriter
from tests.chaos.record import Database
from tests.unit.db_examples import NOW as THEN
from tests.unit.db_examples import a_query, a_step, asking, completed, finishing

PREFIX = "wave000-"
ENDED, OPEN = f"{PREFIX}00000", f"{PREFIX}00001"


@pytest.fixture
def database(postgres_url: str) -> Database:
    """The record of two queries with nothing wrong, one of them still open."""
    engine = connect(postgres_url)
    record = SqlRecord(engine)
    for query_id in (ENDED, OPEN):
        question = question_of(query_id)
        with record.begin(a_query(query_id, question=question)) as life:
            life.apply(asking(a_step(query_id)), THEN)
            life.add_outcome(a_step(query_id).key, completed(f"It asks: {question}"))
            if query_id == ENDED:
                life.apply(finishing(query_id), THEN)
    engine.dispose()
    return Database(postgres_url)


def found(database: Database, *accepted: str) -> dict[str, list[str]]:
    ((now,),) = database.rows("SELECT now() - interval '1 hour'")
    return database.wrong(PREFIX, accepted or [ENDED], now).found


def tamper(database: Database, *statements: str) -> None:
    """Change the record behind the back of its triggers and foreign keys."""
    for statement in statements:
        database.do(f"SET session_replication_role = replica; {statement}")


def test_nothing_is_wrong_with_a_sound_record(database: Database) -> None:
    assert found(database) == {}


def test_a_query_that_never_ended_or_never_came_is_lost(database: Database) -> None:
    never = f"{PREFIX}00009"
    assert sorted(found(database, ENDED, OPEN, never)["lost"]) == [OPEN, never]


@pytest.mark.parametrize("table", ["rounds", "steps", "outcomes", "decisions"])
def test_a_row_that_is_gone_is_a_gap(database: Database, table: str) -> None:
    tamper(database, f"DELETE FROM {table} WHERE query_id = '{ENDED}'")
    assert found(database)["gaps"] == [ENDED]


def test_a_step_decided_twice_is_found(database: Database) -> None:
    tamper(
        database,
        "DROP INDEX uq_outcomes_deciding;"
        f" INSERT INTO outcomes (query_id, seq, step_id, status, at, worker)"
        f" SELECT query_id, 90, step_id, status, at, worker FROM outcomes"
        f" WHERE query_id = '{ENDED}'",
    )
    assert found(database)["decided_twice"] == [a_step(ENDED).step_id]


def test_a_query_that_ended_twice_is_found(database: Database) -> None:
    tamper(
        database,
        "ALTER TABLE answers DROP CONSTRAINT pk_answers CASCADE;"
        f" INSERT INTO answers SELECT * FROM answers WHERE query_id = '{ENDED}'",
    )
    assert found(database)["ended_twice"] == [ENDED]


def test_an_act_asked_twice_of_one_participant_is_found(database: Database) -> None:
    tamper(
        database,
        "CREATE TEMP TABLE twin AS SELECT * FROM steps"
        f" WHERE query_id = '{ENDED}'; UPDATE twin SET step_id = 'twin', seq = 90, index = 1;"
        " INSERT INTO steps SELECT * FROM twin",
    )
    assert len(found(database)["asked_twice"]) == 1


def test_a_step_left_open_by_an_answered_query_is_found(database: Database) -> None:
    tamper(database, f"DELETE FROM outcomes WHERE query_id = '{ENDED}'")
    assert found(database)["open_steps"] == [a_step(ENDED).step_id]


@pytest.mark.parametrize(
    "change", ["UPDATE queries SET question = 'Other?'", "UPDATE outcomes SET text = 'another'"]
)
def test_a_text_of_another_query_is_found(database: Database, change: str) -> None:
    tamper(database, f"{change} WHERE query_id = '{ENDED}'")
    assert found(database)["mixed_up"] == [ENDED]


def test_a_dead_letter_is_found(database: Database) -> None:
    database.do(
        "INSERT INTO dead_letters (message_id, task, queue, reason, at, body)"
        " VALUES ('m', 'colm.draft', 'q', 'because', now(), '')"
    )
    assert found(database)["dead_letters"] == ["m: because"]


def test_a_generation_begun_again_counts_with_all_its_tokens(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer, journal = JournalWriter(path), Journal(path)
    for what, step, tokens in (
        ("began", "wave000-00000.1.draft.ada.0", 0),
        ("began", "wave000-00000.1.draft.ada.0", 0),
        ("began", "wave000-00000.1.draft.bo.0", 0),
        ("done", "wave000-00000.1.draft.ada.0", 30),
    ):
        writer.note(what, step, tokens)
    journal.refresh()

    assert (journal.again(PREFIX), journal.tokens_again(PREFIX)) == (1, 30)
    assert journal.tokens_once(PREFIX) == 30
    assert journal.finished == {"ada": 1}
    assert journal.again("wave001-") == 0
