"""Hearing of ends: one connection a process for any number of callers who wait.

PostgreSQL tells of every answer that is committed, SQLite tells nobody and is asked, once for all
who wait. Where PostgreSQL cannot be listened to - it has no connection left, it is away, a pooler
between gives each transaction another one - it is asked every second until it can be.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary, ref

import psycopg2
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import SQLAlchemyError

from colm.db.connection import autocommit
from colm.db.record.store import ANSWERS_CHANNEL
from colm.db.schema.tables import answers
from colm.models.errors import ColmError, TransientError

logger = logging.getLogger(__name__)

#: How often SQLite is asked.
POLL_S = 0.010
#: How often PostgreSQL is asked while it cannot be listened to.
DEAF_POLL_S = 1.0
#: How long PostgreSQL may take to say what it was told to say, if it is heard at all.
ECHO_S = 1.0
#: How long a connection is kept after the last caller; to open one takes longer than most answers.
KEPT_S = 30.0
#: How often the thread that listens looks whether anybody still waits.
LOOK_UP_S = 1.0
#: How often callers look although nothing was said: bounds what a lost connection costs where the
#: network hides the loss.
RECHECK_S = 5.0

_LOST = (ColmError, SQLAlchemyError, psycopg2.Error, OSError)


def completed_of(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """Which of these queries have ended. Raises TransientError."""
    with autocommit(engine) as connection:
        ended = select(answers.c.query_id).where(answers.c.query_id.in_(tuple(query_ids)))
        return set(connection.scalars(ended))


class CompletionListener:
    """Wakes callers when a query has ended, or when one may have ended unheard."""

    def __init__(self, engine: Engine) -> None:
        self._engine = ref(engine)
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everybody who waits: in a forked child there is neither a thread nor a caller."""
        self._lock = threading.Lock()
        self._callers: dict[str, list[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._last_left = time.monotonic()
        self._closed = False

    def close(self) -> None:
        """Let the connection go, within a second; the next caller opens another."""
        self._closed = True

    @contextmanager
    def awaiting(self, query_ids: Collection[str]) -> Iterator[threading.Event]:
        """An event that is set when one of these may have ended. Look once after it was made."""
        told = threading.Event()
        with self._lock:
            self._closed = False
            for query_id in query_ids:
                self._callers.setdefault(query_id, []).append(told)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="hearing", daemon=True)
                self._thread.start()
        try:
            yield told
        finally:
            with self._lock:
                self._last_left = time.monotonic()
                for query_id in query_ids:
                    others = [one for one in self._callers.pop(query_id, ()) if one is not told]
                    if others:
                        self._callers[query_id] = others

    def _wake(self, query_ids: Collection[str]) -> None:
        with self._lock:
            for query_id in query_ids:
                for told in self._callers.get(query_id, ()):
                    told.set()

    def _awaited(self) -> list[str]:
        with self._lock:
            return list(self._callers)

    def _wanted(self, kept: float = 0.0) -> bool:
        """Whether the thread goes on; it has ended for everybody when this says no."""
        with self._lock:
            idle = not self._callers and time.monotonic() - self._last_left >= kept
            if not idle and not self._closed:
                return True
            self._thread = None
            return False

    def _run(self) -> None:
        engine = self._engine()
        if engine is None:
            return
        if engine.dialect.name == "postgresql":
            self._hear_postgresql(engine)
            return
        while self._wanted():
            self._ask(engine)
            time.sleep(POLL_S)

    def _hear_postgresql(self, engine: Engine) -> None:
        while self._wanted():
            listens = False
            try:
                with self._listening(engine) as driver:
                    listens = True
                    # An answer that was committed before is told to nobody.
                    self._wake(self._awaited())
                    while self._wanted(KEPT_S):
                        self._hear(driver, LOOK_UP_S)
                return
            except _LOST as error:
                logger.info("answers are asked for every second for now: %s", _first_line(error))
            if listens:  # the database may be gone: callers are to see for themselves
                self._wake(self._awaited())
            self._ask(engine)
            time.sleep(DEAF_POLL_S)

    def _ask(self, engine: Engine) -> None:
        try:
            self._wake(completed_of(engine, self._awaited()))
        except _LOST as error:
            logger.info("whether answers have come cannot be asked now: %s", _first_line(error))

    @contextmanager
    def _listening(self, engine: Engine) -> Iterator[Any]:
        """The driver's connection, which hears; it takes no place in the engine's pool."""
        with ExitStack() as opened:
            with autocommit(engine) as speaker:  # first: it prepares the engine for any connection
                pool = engine.pool.recreate()
                opened.callback(pool.dispose)
                kept = pool.connect()
                opened.callback(kept.invalidate)
                driver: Any = kept.dbapi_connection
                driver.autocommit = True
                with driver.cursor() as cursor:
                    cursor.execute("SET application_name = 'colm waiting'")
                    cursor.execute(f"LISTEN {ANSWERS_CHANNEL}")
                said = f"echo {uuid4()}"
                speaker.execute(select(func.pg_notify(ANSWERS_CHANNEL, said)))
            self._check_echo(driver, said)
            yield driver

    def _check_echo(self, driver: Any, said: str) -> None:
        """Raise TransientError where what another connection tells is not heard."""
        until = time.monotonic() + ECHO_S
        while said not in self._hear(driver, until - time.monotonic()):
            if time.monotonic() >= until:
                raise TransientError("a pooler keeps from this process what PostgreSQL tells")

    def _hear(self, driver: Any, within: float) -> set[str]:
        """What is told next, if anything is, and wake who waits for it."""
        driver.poll()
        if not driver.notifies:
            with selectors.DefaultSelector() as selector:
                selector.register(driver, selectors.EVENT_READ)
                selector.select(max(within, 0.0))
            driver.poll()
        told = {notice.payload for notice in driver.notifies}
        driver.notifies.clear()
        self._wake(told)
        return told


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


_EARS: WeakKeyDictionary[Engine, CompletionListener] = WeakKeyDictionary()


def listener_of(engine: Engine) -> CompletionListener:
    """The one ear of this engine."""
    found = _EARS.get(engine)
    if found is None:
        found = _EARS.setdefault(engine, CompletionListener(engine))
        event.listen(engine, "engine_disposed", lambda _engine: found.close())
    return found


def wait_for_any(engine: Engine, query_ids: Collection[str], timeout: float) -> set[str]:
    """Those of `query_ids` that have ended, as soon as one has; none after `timeout` seconds.

    Does not care whether they are known yet. Raises TransientError when the database is away.
    """
    until = time.monotonic() + timeout
    with listener_of(engine).awaiting(query_ids) as told:
        while not (ended := completed_of(engine, query_ids)):
            left = until - time.monotonic()
            if left <= 0:
                return set()
            told.wait(min(left, RECHECK_S))
            told.clear()
    return ended


def _start_anew() -> None:
    for ear in list(_EARS.values()):
        ear.start_anew()


os.register_at_fork(after_in_child=_start_anew)
