"""Waiting for an answer on PostgreSQL: one connection a process, whatever becomes of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError
from sqlalchemy import Engine, make_url, text

from colm.db import notifications
from colm.db.connection import autocommit, connect, connection_aborter
from colm.db.reads import answers, completion_listener
from colm.db.reads.completion_listener import wait_for_answer, wait_for_any
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.models.errors import TransientError
from colm.tasks.celery_app import app
from colm.tasks.config.settings import settings
from colm.workers.experiments.network_proxy import NetworkProxy
from colm.workers.result_backend import RecordBackend
from tests.provision import PostgresServer

_LISTENING = text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'colm waiting'"
)
_ENDING = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'colm waiting'"
)
ID = "query-0001"


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    found = connect(postgres_url)
    yield found
    found.dispose()


def listening(engine: Engine) -> set[int]:
    with autocommit(engine) as connection:
        return set(connection.scalars(_LISTENING))


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def end(engine: Engine, query_id: str = ID) -> None:
    SqlRecord(engine).refuse(query_id, "Why?", "colm", "it ends", datetime.now(UTC))


def test_any_number_of_callers_wait_on_one_connection(engine: Engine) -> None:
    with ThreadPoolExecutor(40) as callers:
        found = [callers.submit(wait_for_answer, engine, ID, 60) for _ in range(40)]
        until(lambda: len(listening(engine)) == 1)
        first = listening(engine)
        end(engine)
        assert all(one.result() for one in found)
    assert not wait_for_answer(engine, "unknown", timeout=0.1)
    assert listening(engine) == first  # the next caller's, too


def test_an_engine_that_is_disposed_of_listens_no_more(engine: Engine) -> None:
    wait_for_answer(engine, "unknown", timeout=0.5)
    until(lambda: len(listening(engine)) == 1)
    engine.dispose()
    until(lambda: listening(engine) == set())


def test_a_listener_that_the_server_ends_listens_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_listener, "RECHECK_S", 600.0)  # what is not heard is not found
    known: list[set[int]] = [set()]
    with ThreadPoolExecutor(1) as callers:
        found = callers.submit(wait_for_any, engine, [ID], 600)
        for _ in range(2):
            until(lambda: len(listening(engine)) == 1)
            known.append(listening(engine))
            with autocommit(engine) as connection:
                connection.execute(_ENDING)
            until(lambda: listening(engine) not in known)
        end(engine)
        assert found.result(60) == {ID}


def test_what_ends_while_nothing_can_be_heard_is_found(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler that gives each transaction another connection."""
    monkeypatch.setattr(completion_listener, "RECHECK_S", 600.0)
    monkeypatch.setattr(completion_listener, "ECHO_S", 0.1)
    monkeypatch.setattr(notifications, "receive", lambda *_: set())
    with ThreadPoolExecutor(1) as callers:
        found = callers.submit(wait_for_any, engine, [ID], 600)
        time.sleep(0.3)
        end(engine)
        assert found.result(60) == {ID}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], RecordBackend]]:
    """A caller's results from the database at a URL."""
    made: list[RecordBackend] = []

    def at(url: str) -> RecordBackend:
        monkeypatch.setenv("COLM_DATABASE", url)
        monkeypatch.setenv("COLM_BROKER", "amqp://localhost:1/none")
        monkeypatch.setenv("COLM_LIMITS__NO_CONSUMER_TIMEOUT", "600")
        settings.cache_clear()
        made.append(RecordBackend(app=app))
        return made[-1]

    yield at
    for one in made:
        one._reader.engine.dispose()
    settings.cache_clear()


@pytest.mark.parametrize("connections", [1, 2])
def test_more_callers_than_the_server_has_connections_are_all_answered(
    engine: Engine, backend: Callable[[str], RecordBackend], postgres_url: str, connections: int
) -> None:
    role = f"caller_{os.getpid()}_{connections}"
    with autocommit(engine) as connection:
        connection.execute(
            text(f"CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT {connections}")
        )
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
    url = make_url(postgres_url).set(username=role, password="x")
    waits = backend(url.render_as_string(hide_password=False))
    try:
        with ThreadPoolExecutor(120) as callers:
            ids = [f"query-{n:04}" for n in range(120)]
            found = [callers.submit(waits.wait_for, query_id, 120) for query_id in ids]
            for query_id in ids:
                end(engine, query_id)
            assert {one.result()["status"] for one in found} == {"FAILURE"}
    finally:
        waits._reader.engine.dispose()
        until(lambda: not listening(engine))
        with autocommit(engine) as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def test_a_timeout_is_kept_while_the_host_takes_bytes_and_answers_nothing(
    engine: Engine, backend: Callable[[str], RecordBackend], postgres_url: str
) -> None:
    url = make_url(postgres_url)
    with NetworkProxy(target=("127.0.0.1", int(url.port or 5432))) as proxy:
        there = url.set(host="127.0.0.1", port=proxy.port)
        waits = backend(there.render_as_string(hide_password=False))
        with pytest.raises(CeleryTimeoutError):
            waits.wait_for(ID, timeout=0.5)  # it is reached
        end(engine)
        proxy.hold()
        for _ in range(2):
            with pytest.raises(CeleryTimeoutError, match="the database: no reply"):
                waits.wait_for(ID, timeout=0.5)
        proxy.release()
        assert waits.wait_for(ID, timeout=60)["status"] == "FAILURE"


def test_a_thread_that_waits_for_a_silent_host_is_freed(postgres_url: str) -> None:
    engine = connect(postgres_url)
    cut = connection_aborter(engine)

    def hang() -> None:
        with autocommit(engine) as connection:
            connection.execute(text("SELECT pg_sleep(600)"))

    with ThreadPoolExecutor(1) as callers:
        stuck = callers.submit(hang)
        until(stuck.running)
        while not stuck.done():  # it may have been about to send
            cut()
            time.sleep(0.05)
        with pytest.raises(TransientError):
            stuck.result()
    assert not answers.has_ended(engine, ID)
    engine.dispose()


def test_a_caller_waits_through_a_restart_of_the_database(
    private_postgres: PostgresServer, backend: Callable[[str], RecordBackend]
) -> None:
    migrate.upgrade(private_postgres.url)
    waits = backend(private_postgres.url)
    found: list[str] = []

    def wait() -> None:
        try:
            found.append(waits.wait_for(ID, timeout=200)["status"])
        except Exception as error:  # noqa: BLE001 - the assertion below shows it
            found.append(repr(error))

    caller = threading.Thread(target=wait)
    caller.start()
    engine = connect(private_postgres.url)
    until(lambda: len(listening(engine)) == 1)
    private_postgres.stop()
    time.sleep(0.5)
    private_postgres.start()
    end(engine)
    caller.join(240)
    assert found == ["FAILURE"]
    assert not wait_for_answer(engine, "unknown", timeout=0.01)
    engine.dispose()
