"""Waiting for any of many queries to end: one connection for all of them.

PostgreSQL tells of every answer that is committed; SQLite tells nobody and is asked.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Collection
from typing import Any, Self

import psycopg2
from psycopg2 import sql
from sqlalchemy import Engine, select

from db.engine import glancing, postgresql_options
from db.failures import unusable
from db.record import ANSWERS_CHANNEL
from db.tables import OPEN, answers, progress, queries

#: How often SQLite is asked (seconds).
POLL_S = 0.05
#: How often PostgreSQL is asked although it said nothing (seconds).
RECHECK_S = 5.0


def ended_among(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """Which of these queries have ended. Raises TransientError."""
    with glancing(engine) as connection:
        ended = select(answers.c.query_id).where(answers.c.query_id.in_(tuple(query_ids)))
        return set(connection.scalars(ended))


def known_among(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """Which of these queries the record knows, ended or not. Raises TransientError."""
    with glancing(engine) as connection:
        known = select(queries.c.query_id).where(queries.c.query_id.in_(tuple(query_ids)))
        return set(connection.scalars(known))


def open_queries(engine: Engine, run: str) -> list[str]:
    """The queries of a run that have not ended. Raises TransientError."""
    with glancing(engine) as connection:
        found = select(queries.c.query_id).where(
            queries.c.query_id.in_(select(progress.c.query_id).where(OPEN)), queries.c.run == run
        )
        return list(connection.scalars(found))


class Ends:
    """Hears of ends. One thread at a time; use as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listener: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def wait(self, query_ids: Collection[str], timeout: float) -> set[str]:
        """Those of `query_ids` that have ended, as soon as one has; none after `timeout` seconds.

        Raises TransientError when the database is away; the next call tries again.
        """
        until = time.monotonic() + timeout
        try:
            if self._engine.dialect.name == "postgresql" and self._listener is None:
                self._listener = self._listening()
            while not (ended := ended_among(self._engine, query_ids)):
                left = until - time.monotonic()
                if left <= 0:
                    return set()
                self._pause(query_ids, left)
            return ended
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            self._close()
            raise unusable(self._engine.url, error) from error

    def _pause(self, query_ids: Collection[str], left: float) -> None:
        if self._listener is None:
            time.sleep(min(POLL_S, left))
            return
        until = time.monotonic() + min(left, RECHECK_S)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while (left := until - time.monotonic()) > 0 and selector.select(left):
                self._listener.poll()
                told = {notice.payload for notice in self._listener.notifies}
                self._listener.notifies.clear()
                if not told.isdisjoint(query_ids):
                    return

    def _listening(self) -> Any:
        _args, options = self._engine.dialect.create_connect_args(self._engine.url)
        connection = psycopg2.connect(**{**options, **postgresql_options("colm evaluator")})
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(ANSWERS_CHANNEL)))
        return connection

    def _close(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(psycopg2.Error):
                self._listener.close()
            self._listener = None
