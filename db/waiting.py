"""Waiting for an answer without asking the database all the time."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql
from sqlalchemy import Engine

from db.engine import postgresql_options
from db.reads import has_ended
from db.record import ANSWERS_CHANNEL
from models.errors import TransientError

#: How often SQLite, which tells nobody of a commit, is asked.
POLL_S = 0.010
#: How often PostgreSQL is asked although it said nothing: bounds what a lost connection costs
#: where the network hides the loss.
RECHECK_S = 10.0


def wait_for_answer(engine: Engine, query_id: str, timeout: float) -> bool:
    """Return True as soon as the ask has ended, False after `timeout` seconds without.

    Does not care whether the query is known yet. On PostgreSQL each waiting call holds a connection
    of its own, apart from the engine's pool. Raises TransientError.
    """
    until = time.monotonic() + timeout
    if engine.dialect.name == "postgresql":
        return _listen(engine, query_id, until)
    while not has_ended(engine, query_id):
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(POLL_S, left))
    return True


def _listen(engine: Engine, query_id: str, until: float) -> bool:
    with _listening(engine) as connection:
        # Looked at only now: an answer committed before LISTEN would never be told.
        while not has_ended(engine, query_id):
            left = until - time.monotonic()
            if left <= 0:
                return False
            _hear_of(connection, query_id, min(until, time.monotonic() + RECHECK_S))
    return True


def _hear_of(connection: Any, query_id: str, until: float) -> None:
    """Return when PostgreSQL tells of this query's answer, or at `until`."""
    while (left := until - time.monotonic()) > 0:
        if not select.select([connection], [], [], left)[0]:
            return
        connection.poll()
        told = {notice.payload for notice in connection.notifies}
        connection.notifies.clear()
        if query_id in told:
            return


@contextmanager
def _listening(engine: Engine) -> Iterator[Any]:
    _args, settings = engine.dialect.create_connect_args(engine.url)
    try:
        connection = psycopg2.connect(**settings, **postgresql_options("colm waiting"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(ANSWERS_CHANNEL)))
            yield connection
        finally:
            connection.close()
    except psycopg2.OperationalError as error:
        place = engine.url.render_as_string(hide_password=True)
        raise TransientError(f"{place} cannot be used now: {error}") from error
