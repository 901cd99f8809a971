"""The record over the death and return of its PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event, make_url

from colm.db.connection import connect
from colm.db.reads.answers import answer_of
from colm.db.reads.completion_listener import wait_for_answer
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.models.errors import SettingsError, TransientError
from tests.provision import PostgresServer
from tests.unit.db_examples import NOW, a_query, a_step, asking, completed, finishing, history

pytestmark = pytest.mark.postgres


@pytest.fixture
def engine(private_postgres: PostgresServer) -> Iterator[Engine]:
    migrate.upgrade(private_postgres.url)
    engine = connect(private_postgres.url)
    yield engine
    engine.dispose()


def set_on_each_connection(engine: Engine, name: str, value: str) -> None:
    def set_it(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET {name} = '{value}'")
        connection.commit()

    event.listen(engine, "connect", set_it)


def test_what_was_committed_survives_a_kill_and_the_engine_finds_its_way_back(
    engine: Engine, private_postgres: PostgresServer
) -> None:
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(a_step()), NOW)
    before = history(engine)
    private_postgres.kill()
    password = make_url(private_postgres.url).password
    for _ in range(2):
        with pytest.raises(TransientError, match="cannot be used now") as caught:
            record.due(NOW, 1)
        assert str(password) not in str(caught.value)
    private_postgres.start()
    assert history(engine) == before
    with record.open("query-0001") as life:
        life.apply(finishing(), NOW)
    assert answer_of(engine, "query-0001").status == "answered"


def test_a_life_in_which_the_database_dies_is_transient_and_can_be_repeated(
    engine: Engine, private_postgres: PostgresServer
) -> None:
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(a_step()), NOW)

    def live_through_a_kill() -> None:
        with record.open("query-0001") as life:
            life.add_outcome(a_step(), completed())
            private_postgres.kill()

    with pytest.raises(TransientError):
        live_through_a_kill()
    private_postgres.start()
    with record.open("query-0001") as life:
        assert life.add_outcome(a_step(), completed()) == "recorded"


def test_a_waiting_caller_is_told_at_once_that_the_database_is_gone(
    engine: Engine, private_postgres: PostgresServer
) -> None:
    told: list[Exception] = []

    def wait() -> None:
        try:
            wait_for_answer(engine, "query-0001", 60)
        except TransientError as error:
            told.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.3)
    private_postgres.kill()
    waiter.join(5)
    assert len(told) == 1


@pytest.mark.alone
def test_a_hung_holder_loses_its_lock_and_the_others_go_on(postgres_url: str) -> None:
    engine = connect(postgres_url)
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(a_step()), NOW)
    before = history(engine)
    engine.dispose()
    set_on_each_connection(engine, "idle_in_transaction_session_timeout", "100ms")

    def hang() -> None:
        with record.open("query-0001") as life:
            life.add_outcome(a_step(), completed())
            time.sleep(0.5)

    with pytest.raises(TransientError):
        hang()
    assert history(engine) == before
    with record.open("query-0001") as life:
        assert life.add_outcome(a_step(), completed()) == "recorded"
    engine.dispose()


def test_nobody_waits_for_a_lock_for_ever(postgres_url: str) -> None:
    engine = connect(postgres_url)
    set_on_each_connection(engine, "lock_timeout", "100ms")
    record = SqlRecord(engine)
    with record.begin(a_query()):
        pass
    with (
        record.open("query-0001"),
        pytest.raises(TransientError, match="lock timeout"),
        record.open("query-0001"),
    ):
        pass
    engine.dispose()


def test_a_standby_is_transient(postgres_url: str) -> None:
    engine = connect(postgres_url)
    set_on_each_connection(engine, "default_transaction_read_only", "on")
    with pytest.raises(TransientError, match="read-only transaction"):
        SqlRecord(engine).refuse("query-0001", "why?", "colm", "reason", NOW)
    engine.dispose()


def test_rights_that_were_taken_away_are_transient(postgres_url: str) -> None:
    role = f"reader_{make_url(postgres_url).database}"
    owner = connect(postgres_url)
    with owner.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    engine = connect(make_url(postgres_url).set(username=role, password="x"))
    with pytest.raises(TransientError, match="permission denied"):
        SqlRecord(engine).refuse("query-0001", "why?", "colm", "reason", NOW)
    engine.dispose()
    with owner.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    owner.dispose()


def test_a_database_without_our_tables_says_what_to_run(empty_postgres_url: str) -> None:
    engine = connect(empty_postgres_url)
    with pytest.raises(SettingsError, match="colm migrate"):
        SqlRecord(engine).due(NOW, 1)
    engine.dispose()
