"""Connections to the record on PostgreSQL or SQLite, with equal guarantees.

A commit survives a killed process and a power cut. Writers of one query wait for each other;
readers wait for nobody. A failed connection is a TransientError.
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

from colm.db import pool_events
from colm.db.columns import to_json
from colm.db.errors import translated
from colm.db.pool_events import LOCK_TIMEOUT_S as LOCK_TIMEOUT_S
from colm.db.sqlite_file import opener
from colm.models.errors import SettingsError, TransientError
from colm.models.urls import check_postgresql

CONNECT_TIMEOUT_S = 10

#: The engines of this process, and the pools of a forked child's parent: the child must neither
#: use nor close those.
_ENGINES: WeakSet[Engine] = WeakSet()
_PARENTS: list[Pool] = []

#: Execution option: BEGIN IMMEDIATE on SQLite, which refuses to upgrade a reader later.
_WRITES = "colm_writes"
#: Execution option: a lock for the writing threads of a process. SQLite's own lock is polled with
#: growing sleeps.
_TURN = "colm_turn"

#: Of every engine. `hide_parameters` keeps prompts and completions out of logs.
_OPTIONS: dict[str, Any] = {
    "max_overflow": 0,
    "pool_timeout": LOCK_TIMEOUT_S,
    "json_serializer": to_json,
    "hide_parameters": True,
}


def connect(
    url: str | URL, *, pool_size: int = 5, application_name: str = "colm", create: bool = False
) -> Engine:
    """An engine for the record at `url`; it does not connect yet.

    `create` makes a missing SQLite file. Raises SettingsError for an unsupported database.
    """
    target = parse(url)
    if target.get_backend_name() == "sqlite":
        engine = _sqlite(target, pool_size, create=create)
    else:
        engine = _postgresql(target, pool_size, application_name)
    _ENGINES.add(engine)
    return engine


def parse(url: str | URL) -> URL:
    """`url` with its driver. Raises SettingsError, without the password in its text."""
    try:
        if isinstance(url, str) and url.startswith("postgresql"):
            check_postgresql(url)
        target = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise SettingsError("the database URL is malformed") from error
    except ValueError as error:
        raise SettingsError(f"the database URL cannot be used: {error}") from None
    match target.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if target.database in (None, "", ":memory:"):
                raise SettingsError("the database URL names no file: use sqlite:////path/to/file")
            return target
        case "postgresql" | "postgresql+psycopg2":
            # A bare postgresql:// means psycopg 3 in SQLAlchemy 2.1.
            return target.set(drivername="postgresql+psycopg2")
        case other:
            raise SettingsError(f"{other} is not supported: use PostgreSQL or SQLite")


def postgresql_options(application_name: str, url: URL | None = None) -> dict[str, Any]:
    """libpq parameters that bound the wait for a dead network; those of the URL win.

    `options` is left to the URL and PGOPTIONS: PgBouncer refuses it.
    """
    ours = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": LOCK_TIMEOUT_S * 1000,
        "client_encoding": "utf8",
    }
    return {name: value for name, value in ours.items() if url is None or name not in url.query}


def _postgresql(url: URL, pool_size: int, application_name: str) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        **_OPTIONS,
        # Reads that follow the wait for a lock must see what was committed until then.
        isolation_level="READ COMMITTED",
        connect_args=postgresql_options(application_name, url),
    )
    _, arguments = engine.dialect.create_connect_args(url)
    try:
        psycopg2.extensions.make_dsn(**arguments)
    except psycopg2.ProgrammingError as error:  # a parameter of a newer libpq
        raise SettingsError(f"the database URL cannot be used: {error}") from None
    pool_events.register(engine)
    return engine


def _sqlite(url: URL, pool_size: int, *, create: bool) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        **_OPTIONS,
        connect_args={"timeout": LOCK_TIMEOUT_S},
        execution_options={_TURN: threading.Lock()},
    )
    event.listen(engine, "do_connect", opener(create=create))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A read-write transaction: committed on a clean exit, rolled back on an exception."""
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
        raise TransientError(
            f"another thread has held the write lock of {engine.url} for {LOCK_TIMEOUT_S} s"
        )
    try:
        yield
    finally:
        lock.release()


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction: all statements see the same state."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """A connection for a single statement, without BEGIN and COMMIT."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def connection_aborter(engine: Engine) -> Callable[[], None]:
    """A function that shuts down the sockets of connections which `engine` opens from now on.

    It frees threads that wait for a hung server: they get a TransientError. No-op on SQLite.
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


def _reset_in_child() -> None:
    """Give a forked child its own connections and locks."""
    for engine in list(_ENGINES):
        _PARENTS.append(engine.pool)
        engine.dispose(close=False)
        if _TURN in engine.get_execution_options():
            engine.update_execution_options(**{_TURN: threading.Lock()})


os.register_at_fork(after_in_child=_reset_in_child)
