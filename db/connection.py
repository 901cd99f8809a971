"""Connections to the record: one way in for PostgreSQL, one for SQLite, the same promises.

What has been committed survives a killed process and a power cut. Writers of one query wait for
each other; readers wait for nobody. Every failure of the connection is a TransientError.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import psycopg2
import psycopg2.extensions
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, Pool, event, make_url

from colm.db import sessions
from colm.db.columns import to_json
from colm.db.errors import translated
from colm.db.sessions import LOCK_TIMEOUT_S as LOCK_TIMEOUT_S
from colm.db.sqlite_file import opener
from colm.models.errors import SettingsError, TransientError
from colm.models.urls import check_postgresql

CONNECT_TIMEOUT_S = 10

#: Every engine of this process, and what a forked child has of its parent's connections: it must
#: neither use nor close them.
_ENGINES: WeakSet[Engine] = WeakSet()
_PARENTS: list[Pool] = []

#: Marks the connections that take SQLite's write lock at once: a reader that turns writer in
#: mid-transaction would be refused instead of waiting for its turn.
_WRITES = "colm_writes"
#: Names the lock for which the threads of a process queue before they compete with other processes
#: for SQLite's: that one is waited for by sleeping and looking again, longer each time.
_TURN = "colm_turn"


def connect(
    url: str | URL, *, pool_size: int = 5, application_name: str = "colm", create: bool = False
) -> Engine:
    """An engine for the record at `url`; connects to nothing yet.

    A SQLite file that is not there is made with `create` only. Raises SettingsError if CoLM keeps
    no record in such a database.
    """
    target = parse(url)
    if target.get_backend_name() == "sqlite":
        engine = _sqlite(target, pool_size, create=create)
    else:
        engine = _postgresql(target, pool_size, application_name)
    _ENGINES.add(engine)
    return engine


def parse(url: str | URL) -> URL:
    """`url` with its driver filled in; SettingsError names what is wrong with it, no password."""
    try:
        if isinstance(url, str) and url.startswith("postgresql"):
            check_postgresql(url)
        target = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise SettingsError("the database URL cannot be read") from error
    except ValueError as error:
        raise SettingsError(f"the database URL cannot be used: {error}") from None
    match target.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if target.database in (None, "", ":memory:"):
                raise SettingsError("the database URL names no file: use sqlite:////path/to/file")
            return target
        case "postgresql" | "postgresql+psycopg2":
            # SQLAlchemy takes a bare postgresql:// for psycopg 3.
            return target.set(drivername="postgresql+psycopg2")
        case other:
            raise SettingsError(f"{other} is not a database for CoLM: use PostgreSQL or SQLite")


def postgresql_options(application_name: str, url: URL | None = None) -> dict[str, Any]:
    """libpq's settings: no connection hangs on a dead network or behind a hung process.

    Those that the URL sets are left to it. None is `options`: PgBouncer refuses it, and the URL's,
    or PGOPTIONS, have it for themselves.
    """
    ours = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": LOCK_TIMEOUT_S * 1000,
        # Whatever PGCLIENTENCODING says.
        "client_encoding": "utf8",
    }
    return {name: value for name, value in ours.items() if url is None or name not in url.query}


def _postgresql(url: URL, pool_size: int, application_name: str) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_TIMEOUT_S,
        # A life reads the steps after it has waited for the lock: each statement must see what was
        # committed until then, whatever the server's default is.
        isolation_level="READ COMMITTED",
        connect_args=postgresql_options(application_name, url),
        json_serializer=to_json,
        # Parameters are prompts and completions: they do not belong into logs.
        hide_parameters=True,
    )
    _, arguments = engine.dialect.create_connect_args(url)
    try:
        psycopg2.extensions.make_dsn(**arguments)
    except psycopg2.ProgrammingError as error:  # a parameter of a newer libpq than this one
        raise SettingsError(f"the database URL cannot be used: {error}") from None
    sessions.attend(engine)
    return engine


def _sqlite(url: URL, pool_size: int, *, create: bool) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_TIMEOUT_S,
        connect_args={"timeout": LOCK_TIMEOUT_S},
        execution_options={_TURN: threading.Lock()},
        json_serializer=to_json,
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", opener(create=create))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction: committed on a clean exit, rolled back on an exception."""
    with (
        translated(engine.url),
        _turn(engine),
        engine.connect().execution_options(**{_WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    lock: threading.Lock | None = engine.get_execution_options().get(_TURN)
    if lock is None:
        yield
        return
    if not lock.acquire(timeout=LOCK_TIMEOUT_S):
        raise TransientError(f"another thread has been writing to {engine.url} for too long")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A consistent view of the record: every statement in the block sees the same moment."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """For a single statement: no transaction around it, hence the fewest round trips."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def cutter(engine: Engine) -> Callable[[], None]:
    """What frees threads that wait for a server which takes bytes and answers nothing.

    It ends every connection that `engine` opens from now on, which is a TransientError in the
    thread that uses it. Of a file there are none.
    """
    drivers: WeakSet[Any] = WeakSet()
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", lambda driver, _record: drivers.add(driver))

    def cut() -> None:
        for driver in list(drivers):
            with (
                suppress(OSError, psycopg2.Error),
                socket.socket(fileno=os.dup(driver.fileno())) as s,
            ):
                s.shutdown(socket.SHUT_RDWR)

    return cut


def _start_anew() -> None:
    """In a forked child: connections and locks of its own for every engine."""
    for engine in list(_ENGINES):
        _PARENTS.append(engine.pool)
        engine.dispose(close=False)
        if _TURN in engine.get_execution_options():
            engine.update_execution_options(**{_TURN: threading.Lock()})


os.register_at_fork(after_in_child=_start_anew)
