"""Waiting for the end of queries: one thread and connection a process, for any number of callers.

On PostgreSQL the thread listens to notifications of committed answers. While it cannot (no free
connection, database away, transaction pooler) it polls every second. On SQLite it polls.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary, ref

import psycopg2
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from colm.db import notifications
from colm.db.connection import autocommit
from colm.db.errors import first_line
from colm.db.reads.answers import completed_of
from colm.db.record.store import ANSWERS_CHANNEL
from colm.models.errors import ColmError, TransientError

logger = logging.getLogger(__name__)

#: Seconds between polls of SQLite.
POLL_S = 0.010
#: Seconds between polls of PostgreSQL while it delivers no notifications.
FALLBACK_POLL_S = 1.0
#: Seconds that a test notification may take after LISTEN.
ECHO_S = 1.0
#: Seconds that the connection stays open after the last caller: opening one is slow.
IDLE_S = 30.0
#: Longest wait for notifications before the thread checks for callers, in seconds.
RECEIVE_S = 1.0
#: Seconds after which callers look without a notification: a lost connection may go unnoticed.
RECHECK_S = 5.0

_LOST = (ColmError, SQLAlchemyError, psycopg2.Error, OSError)


class CompletionListener:
    """Wakes callers when their query has ended or may have ended unnoticed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = ref(engine)
        self.reset()

    def reset(self) -> None:
        """Drop all callers and the thread: a forked child has neither."""
        self._lock = threading.Lock()
        self._callers: dict[str, list[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._last_left = time.monotonic()
        self._closed = False

    def close(self) -> None:
        """Close the connection within a second; the next caller opens another."""
        self._closed = True

    @contextmanager
    def awaiting(self, query_ids: Collection[str]) -> Iterator[threading.Event]:
        """An event that is set when one of the queries may have ended. Look once after entering."""
        woken = threading.Event()
        with self._lock:
            self._closed = False
            for query_id in query_ids:
                self._callers.setdefault(query_id, []).append(woken)
            if self._thread is None or not self._thread.is_alive():
                name = "completion-listener"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        try:
            yield woken
        finally:
            with self._lock:
                self._last_left = time.monotonic()
                for query_id in query_ids:
                    others = [e for e in self._callers.pop(query_id, ()) if e is not woken]
                    if others:
                        self._callers[query_id] = others

    def _wake(self, query_ids: Collection[str]) -> None:
        with self._lock:
            for query_id in query_ids:
                for woken in self._callers.get(query_id, ()):
                    woken.set()

    def _awaited(self) -> list[str]:
        with self._lock:
            return list(self._callers)

    def _continues(self, idle_s: float = 0.0) -> bool:
        """Whether the thread goes on. After False the next caller starts another thread."""
        with self._lock:
            idle = not self._callers and time.monotonic() - self._last_left >= idle_s
            if not idle and not self._closed:
                return True
            self._thread = None
            return False

    def _run(self) -> None:
        engine = self._engine()
        if engine is None:
            return
        if engine.dialect.name == "postgresql":
            self._run_postgresql(engine)
            return
        while self._continues():
            self._poll(engine)
            time.sleep(POLL_S)

    def _run_postgresql(self, engine: Engine) -> None:
        while self._continues():
            listening = False
            try:
                with self._listening(engine) as driver:
                    listening = True
                    # No notification comes of an answer that was committed before.
                    self._wake(self._awaited())
                    while self._continues(IDLE_S):
                        self._wake(notifications.receive(driver, RECEIVE_S))
                return
            except _LOST as error:
                logger.info("polling for answers every second for now: %s", first_line(error))
            if listening:  # the database may be away: each caller finds out itself
                self._wake(self._awaited())
            self._poll(engine)
            time.sleep(FALLBACK_POLL_S)

    def _poll(self, engine: Engine) -> None:
        try:
            self._wake(completed_of(engine, self._awaited()))
        except _LOST as error:
            logger.info("cannot poll for answers now: %s", first_line(error))

    @contextmanager
    def _listening(self, engine: Engine) -> Iterator[Any]:
        """The driver's connection, listening, outside the engine's pool.

        Raises TransientError if it does not receive a test notification.
        """
        with ExitStack() as opened:
            with autocommit(engine) as sender:  # first: it prepares the engine for any connection
                pool = engine.pool.recreate()
                opened.callback(pool.dispose)
                connection = pool.connect()
                opened.callback(connection.invalidate)
                driver: Any = connection.dbapi_connection
                driver.autocommit = True
                with driver.cursor() as cursor:
                    cursor.execute("SET application_name = 'colm waiting'")
                    cursor.execute(f"LISTEN {ANSWERS_CHANNEL}")
                payload = notifications.send_test(sender, ANSWERS_CHANNEL)
            if not notifications.is_received(driver, payload, ECHO_S):
                raise TransientError("a pooler before PostgreSQL delivers no notifications")
            yield driver


_LISTENERS: WeakKeyDictionary[Engine, CompletionListener] = WeakKeyDictionary()


def listener_of(engine: Engine) -> CompletionListener:
    """The one listener of this engine."""
    listener = _LISTENERS.get(engine)
    if listener is None:
        listener = _LISTENERS.setdefault(engine, CompletionListener(engine))
        event.listen(engine, "engine_disposed", lambda _engine: listener.close())
    return listener


def wait_for_any(engine: Engine, query_ids: Collection[str], timeout: float) -> set[str]:
    """The ended ones of `query_ids`, as soon as there is one; none after `timeout` seconds.

    The queries need not be recorded yet. Raises TransientError when the database is away.
    """
    until = time.monotonic() + timeout
    with listener_of(engine).awaiting(query_ids) as woken:
        while not (ended := completed_of(engine, query_ids)):
            left = until - time.monotonic()
            if left <= 0:
                return set()
            woken.wait(min(left, RECHECK_S))
            woken.clear()
    return ended


def wait_for_answer(engine: Engine, query_id: str, timeout: float) -> bool:
    """Whether the query ends within `timeout` seconds; returns at once when it does.

    See `wait_for_any`.
    """
    return bool(wait_for_any(engine, (query_id,), timeout))


def _reset_in_child() -> None:
    for listener in list(_LISTENERS.values()):
        listener.reset()


os.register_at_fork(after_in_child=_reset_in_child)
