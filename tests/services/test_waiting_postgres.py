"""Waiting for an answer on PostgreSQL keeps its connections, and leaves none of them listening."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from db import migrate, reads
from db.engine import connect, glancing
from tests.provision import PostgresServer

_WAITING = text(
    "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'colm waiting'"
)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    found = connect(postgres_url)
    yield found
    found.dispose()


def _waiting(engine: Engine) -> dict[int, str]:
    """The connections that wait or have waited, with what each was told last."""
    with glancing(engine) as connection:
        return {row.pid: row.query for row in connection.execute(_WAITING)}


def test_the_next_wait_takes_the_connection_of_the_last(engine: Engine) -> None:
    reads.wait_for_answer(engine, "unknown", timeout=0.01)
    first = _waiting(engine)
    reads.wait_for_answer(engine, "unknown", timeout=0.01)
    assert len(first) == 1
    assert _waiting(engine).keys() == first.keys()


def test_a_kept_connection_does_not_listen(engine: Engine) -> None:
    reads.wait_for_answer(engine, "unknown", timeout=0.01)
    assert list(_waiting(engine).values()) == ["UNLISTEN *"]


def test_any_number_of_callers_wait_at_once_and_few_connections_are_kept(engine: Engine) -> None:
    callers = [
        threading.Thread(target=reads.wait_for_answer, args=(engine, "unknown", 0.5))
        for _ in range(9)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    until = time.monotonic() + 10  # a closed connection takes a moment to leave the list
    while len(_waiting(engine)) > 5 and time.monotonic() < until:
        time.sleep(0.02)
    assert 1 <= len(_waiting(engine)) <= 5


def test_a_wait_after_the_database_restarted_opens_a_new_connection(
    private_postgres: PostgresServer,
) -> None:
    migrate.upgrade(private_postgres.url)
    engine = connect(private_postgres.url)
    assert not reads.wait_for_answer(engine, "unknown", timeout=0.01)
    private_postgres.restart()
    assert not reads.wait_for_answer(engine, "unknown", timeout=0.01)
    engine.dispose()
